"""Says on what was measured: processor, memory, kernel, file system, and how busy it was."""

import os
import platform
import subprocess


def first(path, key):
    """Returns the value of the first line `key: value` of a file in /proc."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return "?"


def mount_of(folder):
    """Returns device, type and options of the file system that a folder is on."""
    command = ["findmnt", "-n", "-o", "SOURCE,FSTYPE,OPTIONS", "--target", folder]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return (done.stdout.split() + ["?"] * 3)[:3]


def journal(device, kind):
    """Returns whether an ext4 has a journal, in words: it decides what a sync and a deletion cost."""
    if kind != "ext4":
        return ""
    name = os.path.basename(device)
    try:
        journals = os.listdir("/proc/fs/jbd2")
    except FileNotFoundError:
        journals = []
    return (
        ", with a journal"
        if any(one.startswith(f"{name}-") for one in journals)
        else ", without a journal"
    )


def describe(folder):
    """Returns the machine as a JSON object."""
    device, kind, options = mount_of(folder)
    return {
        "processor": first("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(first("/proc/meminfo", "MemTotal").split()[0]) / 2**20),
        "kernel": platform.release(),
        "file_system": f"{kind} ({options}){journal(device, kind)}",
        "load_before": round(os.getloadavg()[0], 1),
    }


def version(command):
    """Returns the first line that a program says of its version, or None where it is not there."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    lines = (done.stdout + done.stderr).strip().splitlines()
    # ostree says it as YAML.
    return next((line.strip() for line in lines if any(c.isdigit() for c in line)), "?")
