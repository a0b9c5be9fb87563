"""Where a run takes place: fresh folders, stores made before, disk to spare, file systems in files."""

import contextlib
import itertools
import os
import shutil
import subprocess
import time

import measuring

# ext4 without a journal does not use an inode again for a minute after it was freed, or for six where the
# block of its table is dirty, which the first new file in it makes it; it looks for others one by one.
# Whoever makes files in that time is measured slow.
RECENTLY = 365
# So few are found again without a search that one would notice.
FEW = 2000


class Scene:
    """One run's binary, images and folders."""

    def __init__(self, binary, images, work, room):
        self.binary, self.images, self.work, self.room = binary, images, work, room
        self.numbers, self.stores, self.trees = itertools.count(), {}, {}
        self.largest, self.freed_at = 0, -RECENTLY
        self.prepared = os.path.join(work, "prepared")
        self.rounds = os.path.join(work, "rounds")
        os.mkdir(self.prepared)
        make_spread(self.rounds)

    def command(self, store, *arguments):
        return [self.binary, "--store", store, *arguments]

    def has_command(self, name):
        done = subprocess.run([self.binary, name, "--help"], check=False, capture_output=True)
        return done.returncode == 0

    def folder(self):
        """Returns a new folder for one round."""
        path = os.path.join(self.rounds, str(next(self.numbers)))
        os.mkdir(path)
        return path

    def store(self, image, place=None):
        """Returns a store with one image, which is made once in each place and stays as it is."""
        place = place or self.prepared
        if (image.name, place) not in self.stores:
            store = os.path.join(place, f"store-{next(self.numbers)}")
            self.import_into(store, [image])
            self.stores[image.name, place] = store
        return self.stores[image.name, place]

    def tree(self, image, link="hardlink", place=None):
        """Returns a checkout of an image from its store, which is made once in each place."""
        place = place or self.prepared
        if (image.name, link, place) not in self.trees:
            tree = os.path.join(place, f"tree-{next(self.numbers)}")
            store = self.store(image, place)
            measuring.prepare(
                self.command(store, "checkout", "-q", "--link", link, image.name, tree)
            )
            self.trees[image.name, link, place] = tree
        return self.trees[image.name, link, place]

    def import_into(self, store, images):
        measuring.prepare(self.command(store, "import", "-q", *[image.source for image in images]))

    def forget(self, place):
        """Forgets what was made in a place that is no more."""
        for made in (self.stores, self.trees):
            for key in [key for key in made if key[-1] == place]:
                del made[key]

    def make_room(self):
        """Deletes what earlier rounds left, where another may not fit beside it."""
        used = size(self.rounds)
        if used + self.largest > self.room:
            self.clear()

    def note_size(self, folder):
        self.largest = max(self.largest, size(folder))

    def clear(self):
        unmount_below(self.rounds)
        files = count(self.rounds)
        shutil.rmtree(self.rounds)
        make_spread(self.rounds)
        measuring.write_back()
        self.deleted(files)

    def deleted(self, files):
        """Remembers that so many files were deleted just now, at the most."""
        if files > FEW:
            self.freed_at = time.monotonic()

    def settle(self):
        """Waits until making files is as fast as before the last deletion."""
        left = self.freed_at + RECENTLY - time.monotonic()
        if left > 0:
            time.sleep(left)

    def close(self):
        unmount_below(self.work)
        shutil.rmtree(self.work)


def make_spread(folder):
    """Makes a folder whose folders ext4 puts far from each other, and so from what was deleted lately."""
    os.mkdir(folder)
    # Other file systems have no such flag, and no need of one.
    if shutil.which("chattr"):
        subprocess.run(["chattr", "+T", folder], check=False, capture_output=True)


def size(folder):
    """Returns how many bytes of disk a folder takes, without what is mounted in it."""
    done = subprocess.run(["du", "-sxB1", folder], check=False, capture_output=True, text=True)
    return int(done.stdout.split()[0])


def count(folder):
    """Returns how many files and folders there are in one."""
    done = subprocess.run(["du", "-sx", "--inodes", folder], check=False, capture_output=True)
    return int(done.stdout.split()[0])


def unmount_below(folder):
    """Undoes all mounts in a folder: some tools leave theirs behind."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        points = [line.split()[4] for line in file]
    for point in reversed(points):
        if point.startswith(folder + "/"):
            subprocess.run(["umount", "-q", point], check=False)


@contextlib.contextmanager
def file_system(kind, work, gigabytes):
    """Yields a folder on a new file system in a file."""
    image, point = os.path.join(work, f"{kind}.image"), os.path.join(work, kind)
    with open(image, "wb") as file:
        file.truncate(gigabytes << 30)
    os.mkdir(point)
    try:
        measuring.prepare([f"mkfs.{kind}", "-q", image])
        measuring.prepare(["mount", "-o", "loop", image, point])
        yield point
    finally:
        subprocess.run(["umount", "-q", point], check=False)
        os.rmdir(point)
        os.unlink(image)
