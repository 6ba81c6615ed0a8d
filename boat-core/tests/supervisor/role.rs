//! What a process of these tests does when it is not the test itself: it is told in its environment.

use std::io::Write;
use std::path::Path;
use std::process::{Command, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use boat_core::supervisor::{
    ChildSpec, HookError, StopSignals, Supervisor, SupervisorOptions, TemporaryDirectory, watch_parent,
};

const ARGS: [&str; 4] = ["--ignored", "--exact", "role::play", "--nocapture"];

/// This binary in a role.
pub(crate) fn command(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(ARGS).env("TEST_ROLE", role).stdout(std::process::Stdio::null());
    command
}

#[test]
#[ignore = "what the other tests' processes run"]
fn play() {
    let Ok(role) = std::env::var("TEST_ROLE") else { return };
    let status = match role.as_str() {
        "supervisor" => run(supervise()),
        "watch" => watch(),
        "clean" => run(child(true)),
        "deaf" => run(child(false)),
        "busy" => busy(),
        "mother" => mother(),
        "usage" => exit(64),
        other => panic!("no role {other}"),
    };
    // Past the test harness, whose exit statuses are its own.
    exit(status)
}

/// One line, in one write, so that those of several processes do not mix. The harness writes to standard output.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).expect("the test reads");
}

fn run(role: impl Future<Output = i32>) -> i32 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(role)
}

/// The supervisor may tell of the start only later, so this names the process too.
fn say_ready() {
    say(&format!("{} is ready as process {}", name(), std::process::id()));
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn name() -> String {
    std::env::var("TEST_NAME").expect("a child")
}

/// Runs the children of `TEST_CHILDREN`: `NAME=ROLE,...`.
async fn supervise() -> i32 {
    let directory = std::env::var("TEST_DIRECTORY").ok();
    let options = SupervisorOptions {
        shutdown_timeout: Duration::from_millis(number("TEST_SHUTDOWN_MS").unwrap_or(20_000)),
        backoff_first: Duration::from_millis(number("TEST_BACKOFF_MS").unwrap_or(20)),
        backoff_max: Duration::from_secs(3600),
        ..SupervisorOptions::default()
    };
    let mut supervisor = Supervisor::new(options).expect("signals").on_event(|event| say(&event.to_string()));
    let directory = directory
        .map(|parent| TemporaryDirectory::create_in(Path::new(&parent), "supervisor").expect("a directory"));
    for child in std::env::var("TEST_CHILDREN").expect("children").split(',') {
        supervisor = supervisor.child(spec(child));
    }
    let result = supervisor.run().await;
    drop(directory);
    let Err(error) = result else { return 0 };
    say(&error.to_string());
    error.exit_status().into()
}

fn spec(child: &str) -> ChildSpec {
    let (name, role) = child.split_once('=').expect("NAME=ROLE");
    let spec = ChildSpec::new(name).args(ARGS).env("TEST_ROLE", role).env("TEST_NAME", name);
    let spec = if role == "missing" { spec.program("/no/such/program") } else { spec };
    match std::env::var("TEST_HOOK_FAILURES").as_deref() {
        Ok("hangs") => spec.before_restart(|| async {
            say("cleaning up for ever");
            std::future::pending().await
        }),
        Ok(failures) => {
            let left = Arc::new(AtomicU32::new(failures.parse().expect("a number")));
            spec.before_restart(move || clean_up(Arc::clone(&left)))
        }
        Err(_) => spec,
    }
}

/// Fails as often as it is told.
async fn clean_up(left: Arc<AtomicU32>) -> Result<(), HookError> {
    let failed = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    if failed.is_ok() {
        return Err("still held".into());
    }
    say("cleaned up");
    Ok(())
}

fn watch() -> i32 {
    match watch_parent() {
        Ok(()) => 0,
        Err(error) => {
            say(&error.to_string());
            1
        }
    }
}

/// As every child begins.
fn begin() {
    watch_parent().expect("a supervisor");
    if number("TEST_FORGET_DEATH_SIGNAL").is_some() {
        rustix::process::set_parent_process_death_signal(None).expect("prctl");
    }
}

/// Says each signal that it gets, and ends with the first if it obeys.
async fn child(obeys: bool) -> i32 {
    begin();
    let mut signals = StopSignals::listen().expect("signals");
    say_ready();
    loop {
        let signal = signals.next().await;
        say(&format!("{} got {signal}", name()));
        if obeys {
            return 0;
        }
    }
}

/// Never waits for anything.
fn busy() -> i32 {
    begin();
    say_ready();
    loop {
        std::hint::spin_loop();
    }
}

/// Starts a process of its own and does not end it.
fn mother() -> i32 {
    begin();
    let mut daughter = Command::new("/bin/sleep").arg("1000").spawn().expect("sleep");
    say(&format!("{}'s daughter is process {}", name(), daughter.id()));
    std::thread::spawn(move || daughter.wait());
    run(child(true))
}
