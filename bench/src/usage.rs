//! What processes use, as Linux counts it in `/proc`.

use std::{fs, time::Duration};

use anyhow::Context as _;

/// Linux tells CPU time in ticks of a hundredth of a second, on every architecture that it runs on today.
const TICK: Duration = Duration::from_millis(10);

/// The CPU time, user and system, that processes have used so far, their living children's included.
///
/// # Errors
/// One of them is not there.
pub fn cpu(processes: &[u32]) -> anyhow::Result<Duration> {
    let mut total = Duration::ZERO;
    for (path, stat) in of_each(processes, "stat")? {
        total += cpu_of(&stat).with_context(|| format!("{path} is not as expected"))?;
    }
    Ok(total)
}

/// The memory, in bytes, that processes and their children take, what they share with others only in part
/// ("proportional set size").
///
/// # Errors
/// One of them is not there.
pub fn memory(processes: &[u32]) -> anyhow::Result<u64> {
    let mut total = 0;
    for (path, rollup) in of_each(processes, "smaps_rollup")? {
        total += pss_of(&rollup).with_context(|| format!("{path} is not as expected"))?;
    }
    Ok(total)
}

/// A file of each process and of its children, with its path; a child may have ended meanwhile.
fn of_each(processes: &[u32], file: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for process in with_children(processes)? {
        let path = format!("/proc/{process}/{file}");
        match fs::read_to_string(&path) {
            Ok(text) => files.push((path, text)),
            Err(_) if !processes.contains(&process) => {}
            Err(error) => return Err(error).with_context(|| format!("can't read {path}")),
        }
    }
    Ok(files)
}

fn with_children(processes: &[u32]) -> anyhow::Result<Vec<u32>> {
    let mut all = processes.to_vec();
    let mut next = 0;
    while let Some(process) = all.get(next) {
        // A process may have more than its main thread start others.
        let threads = match fs::read_dir(format!("/proc/{process}/task")) {
            Err(error) if processes.contains(process) => {
                return Err(error).with_context(|| format!("there is no process {process}"));
            }
            threads => threads.into_iter().flatten().flatten(),
        };
        for thread in threads {
            let children = thread.path().join("children");
            let children = fs::read_to_string(children).unwrap_or_default();
            all.extend(
                children
                    .split_whitespace()
                    .filter_map(|id| id.parse::<u32>().ok()),
            );
        }
        next += 1;
    }
    Ok(all)
}

/// User and system time in `/proc/PID/stat`. The second field is the program's name, which may hold anything.
fn cpu_of(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}

fn pss_of(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 9 0 123 456 7";
        assert_eq!(cpu_of(stat), Some(Duration::from_millis(1750)));
        assert_eq!(cpu_of("42 (a"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let rollup = "00400000-7ffd rollup\nRss:            2000 kB\nPss:             512 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(pss_of(rollup), Some(512 * 1024));
        assert_eq!(pss_of(""), None);
    }

    #[test]
    fn this_process_uses_something() {
        let me = [std::process::id()];
        assert!(memory(&me).unwrap() > 0);
        cpu(&me).unwrap();
    }
}
