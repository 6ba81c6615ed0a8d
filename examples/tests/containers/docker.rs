//! The engine, asked through its command line: another way than the one that is tested.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Prefix and tag of the tests' images.
pub(crate) const PREFIX: &str = "boat-test";
pub(crate) const TAG: &str = "test";

/// What the script that builds images ends with where it cannot work.
const UNAVAILABLE: i32 = 69;

static TURN: RwLock<()> = RwLock::new(());

static IMAGES: OnceLock<Result<(), String>> = OnceLock::new();

/// The right to use the engine: alone, or beside others.
#[derive(Debug)]
pub(crate) struct Engine {
    _turn: Turn,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held, not looked at")]
enum Turn {
    Alone(RwLockWriteGuard<'static, ()>),
    Beside(RwLockReadGuard<'static, ()>),
}

impl Engine {
    /// An engine with the tests' images for this test alone, which compares all that the engine holds; nothing where there is
    /// none: that is told, past the capture of output.
    pub(crate) fn get(test: &str) -> Option<Engine> {
        Self::with(test, Turn::Alone(TURN.write().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The same for a test that looks only at what carries its own cluster's name.
    pub(crate) fn beside_others(test: &str) -> Option<Engine> {
        Self::with(test, Turn::Beside(TURN.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn with(test: &str, turn: Turn) -> Option<Engine> {
        let answers = Command::new("docker").arg("version").output();
        if !answers.is_ok_and(|answer| answer.status.success()) {
            skipped(test, "no Docker engine answers");
            return None;
        }
        if let Err(why) = IMAGES.get_or_init(build_images) {
            skipped(test, why);
            return None;
        }
        Some(Engine { _turn: turn })
    }

    /// What the command writes.
    #[track_caller]
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        docker(arguments)
    }

    /// Checks that nothing is left of a cluster.
    #[track_caller]
    pub(crate) fn expect_nothing_of(&self, cluster: &str) {
        let filter = format!("label=dev.boat.cluster={cluster}");
        for what in [&["ps", "--all"][..], &["network", "ls"], &["volume", "ls"]] {
            let left = docker(&[what, &["--filter", filter.as_str()][..]].concat());
            assert_eq!(left.lines().count(), 1, "{left}");
        }
    }

    /// What the engine holds.
    #[track_caller]
    pub(crate) fn inventory(&self) -> Inventory {
        let list = |arguments: &[&str]| docker(arguments).lines().map(str::to_owned).collect();
        Inventory {
            containers: list(&["ps", "--all", "--quiet", "--no-trunc"]),
            networks: list(&["network", "ls", "--quiet", "--no-trunc"]),
            volumes: list(&["volume", "ls", "--quiet"]),
            images: list(&["image", "ls", "--all", "--quiet", "--no-trunc"]),
        }
    }
}

/// Everything that an engine holds, by its identity.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inventory {
    containers: BTreeSet<String>,
    networks: BTreeSet<String>,
    pub(crate) volumes: BTreeSet<String>,
    pub(crate) images: BTreeSet<String>,
}

#[track_caller]
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("the command is there");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {}: {error}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
}

/// As [`docker`], where it is no matter whether it works.
pub(crate) fn try_docker(arguments: &[&str]) {
    let _ = Command::new("docker").args(arguments).output();
}

fn build_images() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = std::env::current_exe().expect("a path");
    let binaries = own.parent().and_then(Path::parent).expect("a build directory").join("examples");
    let output = Command::new(root.join("images/build"))
        .args(["--prefix", PREFIX, "--tag", TAG, "--test-stand-ins", "--binaries"])
        .arg(&binaries)
        .output()
        .expect("the script runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(0) => Ok(()),
        Some(UNAVAILABLE) => Err(error),
        _ => panic!("images/build: {}: {error}", output.status),
    }
}

pub(crate) fn skipped(test: &str, why: &str) {
    // Only the macros' output is captured.
    let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: {}", why.trim_end());
}

/// A dangling image and a volume of somebody else's, as many machines have them. Removed by their identity.
#[derive(Debug)]
pub(crate) struct SomebodyElses {
    image: String,
    volume: String,
}

impl SomebodyElses {
    pub(crate) fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY precious /\n").unwrap();
        let precious = format!("somebody else's, for process {}", std::process::id());
        std::fs::write(directory.path().join("precious"), precious).unwrap();
        let image = docker(&["build", "--quiet", directory.path().to_str().unwrap()]);
        let volume = docker(&["volume", "create"]);
        SomebodyElses { image, volume }
    }

    /// Checks that both are there.
    #[track_caller]
    pub(crate) fn expect_there(&self, held: &Inventory) {
        assert!(held.images.contains(&self.image), "the image {} is gone", self.image);
        assert!(held.volumes.contains(&self.volume), "the volume {} is gone", self.volume);
    }
}

impl Drop for SomebodyElses {
    fn drop(&mut self) {
        try_docker(&["image", "rm", &self.image]);
        try_docker(&["volume", "rm", &self.volume]);
    }
}
