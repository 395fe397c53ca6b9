//! The memory that a process holds, as Linux counts it.

use std::fs;

/// Megabytes of memory, now and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Now, in MiB.
    pub mib: u64,
    /// The most so far, or since [`forget_peak`], in MiB.
    pub peak_mib: u64,
}

/// What a process holds.
///
/// # Panics
/// There is no such process, or this is not Linux.
pub fn resident(process: u32) -> Resident {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let mib = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = value.and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.expect("a size in kB") / 1024
    };
    Resident {
        mib: mib("VmRSS:"),
        peak_mib: mib("VmHWM:"),
    }
}

/// Begins to look for the most anew.
///
/// # Panics
/// There is no such process, or it is not ours.
pub fn forget_peak(process: u32) {
    fs::write(format!("/proc/{process}/clear_refs"), "5").expect("a process of ours");
}

/// How many files a process has open, connections included.
///
/// # Panics
/// There is no such process, or this is not Linux.
pub fn open_files(process: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{process}/fd"));
    files.expect("a process of ours").count()
}
