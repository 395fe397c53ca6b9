//! The WebAssembly engine, and components compiled for it, kept on disk between runs.
//!
//! A kept component is machine code that will run in this process, so a file is used only if
//! - its directory belongs to this user and nobody else may write there (a symbolic link is
//!   resolved first): otherwise the component is compiled and the directory left alone;
//! - its digest, which stands in front of the code, is right: a torn or damaged file is a miss;
//! - wasmtime finds that its own version and settings made it: otherwise it is replaced.
//!
//! Its name is the digest of the component.

use std::fs;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::HostError;
use crate::instances::InstanceReuse;

/// Instances that may live at once for each thread: enough for all requests that the host takes at once, and
/// for those that have had their share of requests and still finish the last ones.
const INSTANCES_PER_THREAD: u32 = 64;
/// Bytes that one guest's memory may grow to; past it the guest's allocation fails, and ends all of its
/// requests. Enough for 16 requests that each hold a few copies of an answer of 8 MiB; Spin sets no
/// limit by default.
const MAX_GUEST_MEMORY: usize = 512 << 20;
/// Bytes of a freed instance's memory that stay mapped, which spares the next one page faults. More
/// of it was not faster, and is held for each slot that was ever used.
const KEEP_RESIDENT: usize = 128 << 10;
/// How often a guest that computes without pause lets others run.
const TICK: Duration = Duration::from_millis(10);
const DIGEST_LENGTH: usize = 32;

/// How many instances of all components together may live at once, with so many threads.
pub(crate) fn max_instances(threads: NonZeroUsize) -> u32 {
    let threads = u32::try_from(threads.get()).unwrap_or(u32::MAX);
    INSTANCES_PER_THREAD.saturating_mul(threads)
}

/// The engine for all components, with the pool that so many instances come from.
pub(crate) fn engine(instances: u32, reuse: &InstanceReuse) -> Result<Engine, HostError> {
    // Any request of an instance may be inside a call to the host, beside the instance itself.
    let stacks_each = reuse.concurrent_requests.saturating_add(1).get();
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_stacks(instances.saturating_mul(stacks_each))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(2))
        // A component is several core modules: its own, and adapters around it.
        .total_core_instances(instances.saturating_mul(16))
        .max_memories_per_component(1)
        .max_tables_per_component(2)
        .max_core_instances_per_component(16)
        .max_memory_size(MAX_GUEST_MEMORY)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .max_unused_warm_slots(16);
    let mut config = Config::new();
    config
        .wasm_component_model_async(true)
        .memory_init_cow(true)
        .epoch_interruption(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config).map_err(HostError::Engine)?;
    tick(&engine);
    Ok(engine)
}

/// Moves the engine's clock for as long as it exists. On a thread of its own: guests that hog
/// every thread of the runtime are what the clock is for.
fn tick(engine: &Engine) {
    let engine = engine.weak();
    std::thread::spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    });
}

/// The compiled component of the file `path`, from the directory `cache` if it is there.
pub(crate) fn load(
    engine: &Engine,
    id: &str,
    path: &Path,
    cache: Option<&Path>,
) -> Result<Component, HostError> {
    let wasm = fs::read(path).map_err(HostError::read(path))?;
    let file = cache.and_then(|directory| cache_file(directory, &wasm));
    if let Some(component) = file.as_deref().and_then(|file| read(engine, file)) {
        return Ok(component);
    }
    tracing::info!(component = id, bytes = wasm.len(), "compiling component …");
    let component = Component::new(engine, &wasm).map_err(|source| {
        let problem = format!(
            "can't be compiled from {} (is it built for wasm32-wasip2?)",
            path.display()
        );
        HostError::Component(id.to_owned(), problem, source)
    })?;
    if let Some(file) = file {
        write(&component, &file).unwrap_or_else(|error| {
            tracing::warn!(file = %file.display(), %error, "the compiled component is not cached");
        });
    }
    Ok(component)
}

/// The user's own cache directory: `$XDG_CACHE_HOME/tidemark` or `~/.cache/tidemark`.
pub(crate) fn default_cache() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("tidemark"))
}

/// Where `wasm` is kept once it is compiled, if `directory` is safe to use.
fn cache_file(directory: &Path, wasm: &[u8]) -> Option<PathBuf> {
    let directory = private_directory(directory)
        .inspect_err(|problem| {
            let directory = directory.display();
            tracing::warn!(%directory, "compiled components are not cached: it {problem}");
        })
        .ok()?;
    let digest = Sha256::digest(wasm);
    let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(directory.join(name).with_extension("cwasm"))
}

/// `directory`, created if need be, if this user alone can write there; otherwise what is wrong.
fn private_directory(directory: &Path) -> Result<PathBuf, String> {
    let failed = |error: std::io::Error| format!("can't be used: {error}");
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(directory).map_err(failed)?;
    let directory = directory.canonicalize().map_err(failed)?;
    let metadata = fs::metadata(&directory).map_err(failed)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err("belongs to another user".to_owned());
    }
    if metadata.mode() & 0o022 != 0 {
        return Err("can be written by others (chmod go-w would help)".to_owned());
    }
    Ok(directory)
}

fn read(engine: &Engine, file: &Path) -> Option<Component> {
    let bytes = fs::read(file).ok()?;
    let (digest, code) = bytes.split_at_checked(DIGEST_LENGTH)?;
    if Sha256::digest(code).as_slice() != digest {
        tracing::warn!(file = %file.display(), "the cached component is damaged");
        return None;
    }
    #[allow(unsafe_code, reason = "compiled code can be loaded in no other way")]
    // SAFETY: `code` came from `Component::serialize`: the file lies in a directory that only this
    // user can write to, it was renamed into place whole, and the digest says that it is unchanged.
    let component = unsafe { Component::deserialize(engine, code) };
    component
        .inspect_err(|error| tracing::warn!(file = %file.display(), %error, "not loaded"))
        .ok()
}

fn write(component: &Component, file: &Path) -> std::io::Result<()> {
    let code = component.serialize().map_err(std::io::Error::other)?;
    let directory = file.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
    temporary.write_all(&Sha256::digest(&code))?;
    temporary.write_all(&code)?;
    temporary.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// The smallest component: a header and nothing else.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    struct Setup {
        engine: Engine,
        directory: tempfile::TempDir,
        wasm: PathBuf,
        cache: PathBuf,
    }

    fn setup() -> Setup {
        let directory = tempfile::tempdir().unwrap();
        let wasm = directory.path().join("empty.wasm");
        fs::write(&wasm, EMPTY).unwrap();
        Setup {
            engine: engine(1, &InstanceReuse::default()).unwrap(),
            cache: directory.path().join("cache"),
            wasm,
            directory,
        }
    }

    impl Setup {
        fn load(&self) -> Component {
            load(&self.engine, "c", &self.wasm, Some(&self.cache)).unwrap()
        }

        fn file(&self) -> PathBuf {
            cache_file(&self.cache, EMPTY).unwrap()
        }
    }

    #[test]
    fn a_compiled_component_is_kept_and_read_back() {
        let setup = setup();
        setup.load();
        assert!(read(&setup.engine, &setup.file()).is_some());
        assert_eq!(
            fs::read_dir(&setup.cache).unwrap().count(),
            1,
            "no temporary file is left"
        );
        setup.load();
    }

    #[test]
    fn a_damaged_file_is_a_miss_and_is_replaced() {
        let setup = setup();
        setup.load();
        let good = fs::read(setup.file()).unwrap();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for damaged in [
            &flipped[..],
            &good[..good.len() / 2],
            &good[..10],
            b"",
            b"nonsense",
        ] {
            fs::write(setup.file(), damaged).unwrap();
            assert!(read(&setup.engine, &setup.file()).is_none());
            setup.load();
            assert_eq!(fs::read(setup.file()).unwrap(), good);
        }
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_not_used() {
        let setup = setup();
        fs::create_dir(&setup.cache).unwrap();
        for mode in [0o777, 0o770, 0o702] {
            fs::set_permissions(&setup.cache, fs::Permissions::from_mode(mode)).unwrap();
            assert!(
                private_directory(&setup.cache)
                    .unwrap_err()
                    .contains("others")
            );
            setup.load();
            assert_eq!(fs::read_dir(&setup.cache).unwrap().count(), 0);
        }
        // A link does not hide what it points to.
        let link = setup.directory.path().join("link");
        std::os::unix::fs::symlink(&setup.cache, &link).unwrap();
        assert!(private_directory(&link).is_err());
    }

    #[test]
    fn a_directory_that_can_not_be_made_is_no_reason_to_fail() {
        let mut setup = setup();
        setup.cache = setup.wasm.join("below-a-file");
        setup.load();
    }

    #[test]
    fn what_is_not_a_component_is_an_error_that_names_the_file() {
        let setup = setup();
        fs::write(&setup.wasm, "text").unwrap();
        let error = load(&setup.engine, "edge", &setup.wasm, None)
            .map(drop)
            .unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("edge") && message.contains("empty.wasm"),
            "{message}"
        );
    }
}
