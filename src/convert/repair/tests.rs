//! What a repair mends, one sentence a test.
