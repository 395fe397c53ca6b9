//! File descriptors, of which every connection takes one: how many this process may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as this process may, and gives it; `None` if there is none. Shells and service
/// managers begin with 1 024, for the sake of programs that use `select`.
pub fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => {
            tracing::info!(from = current, to = maximum, "more files may be open");
            maximum
        }
        Err(error) => {
            tracing::warn!(limit = current, %error, "the limit of open files can't be raised");
            current
        }
    }
}
