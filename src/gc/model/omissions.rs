//! The rules of the protocol that can be left out of the model, to see what each is there for.

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Omission {
    /// E3: the second look at the epoch.
    SecondLookAtEpoch,
    /// W2: what is in the trash is not there.
    FindInPlaceOnly,
    /// W3: a merge that finds a row gone, after a sweep, is done again.
    MergeAgain,
    /// W5: the claim.
    Claim,
    /// W5 comes before W6.
    ClaimBeforeRestore,
    /// W5: a claim is locked before it can be seen.
    ClaimLockedFirst,
    /// W6: what was moved away is brought back.
    Restore,
    /// W6: from the trash of one's own epoch on, not of later ones only.
    RestoreFromOwnEpoch,
    /// W7: `sweeps` is compared.
    ComparisonOfSweeps,
    /// W9 comes after W8.
    ClaimUntilNamed,
    /// W9: a claim stays as long as a collector is at work.
    ClaimForCollection,
    /// R3: what is not in place is looked for in the trash.
    TrashForReaders,
    /// R3: under `publish`.
    LookUpUnderPublish,
    /// R3: and in place again.
    LastLookInPlace,
    /// T3: it is under one lock that a digest is found to be named, and is named again.
    CheckUnderNames,
    /// T3: what is not named itself needs a claim.
    ClaimOfTagger,
    /// C3: only trash of earlier epochs is freed.
    OnlyPastTrash,
    /// C2: only trash of epochs that nobody holds.
    WaitForEarlier,
    /// C3: claims of the dead count until the next collection.
    DeadClaims,
    /// Each look is at claims first, then at names.
    ClaimsBeforeNames,
    /// C4: claims.
    ClaimsInMark,
    /// All looks at claims.
    LookAtClaims,
    /// C4: documents that are in the trash are read there.
    TrashForCollector,
    /// C6 comes before C7.
    ObjectRowsFirst,
    /// C6: the look.
    LookBeforeObjectRows,
    /// C7: the look.
    LookBeforeBatch,
    /// C7: under `publish`.
    BatchUnderPublish,
    /// C7: what somebody may need is moved to the trash, not unlinked at once.
    TrashBesideOthers,
    /// C8: the next epoch.
    NextEpoch,
    /// C9 and C11: the wait.
    Wait,
    /// C9 and C11: older epochs than the last one count, too.
    OlderEpochs,
    /// C10 comes after C9.
    WaitBeforeTreeRows,
    /// C10: the look.
    LookBeforeTreeRows,
    /// C10: `commits` is compared with what it was when rows were marked.
    ComparisonOfCommits,
    /// C10: what leads to nodes goes before them.
    TreeRootsFirst,
}

/// How many there are.
pub(super) const COUNT: u32 = Omission::TreeRootsFirst as u32 + 1;
