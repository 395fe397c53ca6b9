//! Results of runs, kept as JSON, and the conditions under which they came about.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tidemark_tests::tools;

use crate::{say, scale::Scale};

/// A folder of results.
#[derive(Clone, Debug)]
pub struct Results(PathBuf);

/// A workload's result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved<T> {
    /// Under which conditions it came about.
    pub about: About,
    /// What was measured.
    pub outcome: T,
}

/// The conditions of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// When, as `2026-11-23 20:00` in UTC.
    pub date: String,
    /// How thoroughly.
    pub scale: Scale,
    /// Whether the programs were built as they ship.
    pub release: bool,
    /// The processor's name, as Linux tells it.
    pub processor: String,
    /// How many cores there are.
    pub cores: usize,
    /// Memory, in GiB.
    pub memory_gib: f64,
    /// Programs and their versions, in the order of the report.
    pub versions: Vec<(String, String)>,
}

impl Results {
    /// Results in this folder, which is made.
    ///
    /// # Errors
    /// It can't be made.
    pub fn at(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
        Ok(Self(folder.to_owned()))
    }

    /// Keeps a workload's result instead of its last one.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn save<T: Serialize>(&self, name: &str, about: &About, outcome: &T) -> anyhow::Result<()> {
        let about = about.clone();
        let text = serde_json::to_vec_pretty(&Saved { about, outcome })?;
        let new = self.0.join(format!("{name}.json.new"));
        fs::write(&new, text)?;
        fs::rename(&new, self.0.join(format!("{name}.json")))?;
        Ok(())
    }

    /// A workload's latest result, if this version of it was ever run.
    ///
    /// # Errors
    /// What is there can't be read.
    pub fn load<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<Option<Saved<T>>> {
        let path = self.0.join(format!("{name}.json"));
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path)?;
        match serde_json::from_slice(&text) {
            Ok(saved) => Ok(Some(saved)),
            Err(error) => {
                say(format_args!(
                    "the last result of {name} is of another version: {error}"
                ));
                Ok(None)
            }
        }
    }
}

impl About {
    /// This machine, now.
    ///
    /// # Errors
    /// This is not Linux.
    pub fn of_this_machine(scale: Scale) -> anyhow::Result<Self> {
        let processors = fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
        let memory = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
        let kib: f64 = value(&memory, "MemTotal").trim_end_matches(" kB").parse()?;
        let date = tools::output(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M"]))?;
        let mut about = Self {
            date: date.trim().to_owned(),
            scale,
            release: !cfg!(debug_assertions),
            processor: value(&processors, "model name").to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            // To a tenth, which is read back as it was written: not every number of more digits is.
            memory_gib: (kib / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            versions: Vec::new(),
        };
        about.version("Linux", "uname", &["--kernel-release"]);
        about.version("Rust", "rustc", &["--version"]);
        about.version("PostgreSQL", "psql", &["--version"]);
        about.version("Redis", "redis-server", &["--version"]);
        about.version("Node.js", "node", &["--version"]);
        about.version("nginx", "nginx", &["-v"]);
        about.version("wrk", "wrk", &["-v"]);
        Ok(about)
    }

    /// Adds a program that is installed, by the first word that looks like a version. (wrk and nginx fail, or
    /// write it to stderr.)
    fn version(&mut self, name: &str, program: &str, arguments: &[&str]) {
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let output = Command::new(program)
            .args(arguments)
            .env("PATH", path)
            .output();
        let Ok(output) = output else { return };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let words = text.split(|c: char| c.is_whitespace() || c == '/' || c == '=');
        let is_version = |word: &&str| {
            let word = word.trim_start_matches('v');
            word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')
        };
        if let Some(version) = words.into_iter().find(is_version) {
            self.versions
                .push((name.to_owned(), version.trim_start_matches('v').to_owned()));
        }
    }
}

/// The first value of this name in one of Linux' tables.
fn value<'a>(table: &'a str, name: &str) -> &'a str {
    let lines = table.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines
        .filter(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim());
    found.next().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_read_back_and_an_absent_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let results = Results::at(folder.path()).unwrap();
        assert!(results.load::<u32>("latency").unwrap().is_none());
        let about = About::of_this_machine(Scale::Trial).unwrap();
        results.save("latency", &about, &42).unwrap();
        let saved: Saved<u32> = results.load("latency").unwrap().unwrap();
        assert_eq!((saved.outcome, saved.about), (42, about));
        assert!(results.load::<String>("latency").unwrap().is_none());
    }

    #[test]
    fn linux_tables_are_read() {
        let table = "processor\t: 0\nmodel name\t: Fast CPU: 2\nmodel name\t: other\n";
        assert_eq!(value(table, "model name"), "Fast CPU: 2");
        assert_eq!(value(table, "flags"), "unknown");
    }
}
