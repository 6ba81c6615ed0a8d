//! However `three_node` ends, the machine is as it was, or one `clean` makes it so.

use rustix::process::Signal;

use super::client::Client;
use super::docker::{Engine, SomebodyElses, try_docker};
use super::site::Site;

#[test]
fn a_second_ctrl_c_leaves_nothing() {
    let Some(engine) = Engine::get("a_second_ctrl_c_leaves_nothing") else { return };
    let others = SomebodyElses::make();
    let before = engine.inventory();
    others.expect_there(&before);
    let site = Site::new("ctrl-c");
    let mut program = site.start_one();
    program.send(Signal::INT);
    program.output.expect("stopping: ctrl-C");
    program.send(Signal::INT);
    assert_eq!(program.expect_end().code(), Some(0));
    assert_eq!(engine.inventory(), before);
    assert_eq!(site.files(), Vec::<String>::new());
}

#[test]
fn however_often_it_is_told_to_stop_while_a_model_is_made_anew_nothing_is_left() {
    let test = "however_often_it_is_told_to_stop_while_a_model_is_made_anew_nothing_is_left";
    let Some(engine) = Engine::get(test) else { return };
    let before = engine.inventory();
    let site = Site::new("stops");
    // What is under way when the signals come: containers are removed, or made, or waited for.
    for (line, signals) in [
        ("removing container", &[Signal::INT][..]),
        ("starting container redis", &[Signal::INT, Signal::INT, Signal::INT]),
        ("starting container echo-model", &[Signal::TERM, Signal::INT, Signal::TERM]),
    ] {
        let mut program = site.start_one();
        let mark = program.output.mark();
        try_docker(&["kill", &site.container(0, "model_container")]);
        // Who asks is told nothing any more, or that nobody knows; the node makes its model anew for it.
        let address = site.ports.http(0);
        let asked = std::thread::spawn(move || Client::new(address).predict("key", "input").is_ok());
        program.output.expect_after(mark, line);
        for signal in signals {
            program.send(*signal);
            program.output.expect_after(mark, "stopping");
        }
        asked.join().unwrap();
        assert_eq!(program.expect_end().code(), Some(0), "{line}");
        assert_eq!(engine.inventory(), before, "{line}");
        assert_eq!(site.files(), Vec::<String>::new(), "{line}");
    }
}

#[test]
fn after_a_kill_of_the_supervisor_one_clean_leaves_nothing() {
    let Some(engine) = Engine::get("after_a_kill_of_the_supervisor_one_clean_leaves_nothing") else { return };
    let others = SomebodyElses::make();
    let before = engine.inventory();
    let site = Site::new("kill");
    let mut cluster = site.start();
    let refused = site.clean(&[]);
    assert_eq!(refused.status.code(), Some(64), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("runs already"), "{refused:?}");

    cluster.program.send(Signal::KILL);
    cluster.program.expect_end();
    let left = engine.inventory();
    assert_ne!(left, before);
    let told = site.clean(&["--dry-run"]);
    assert_eq!(
        String::from_utf8_lossy(&told.stdout).matches("would remove container").count(),
        18,
        "{told:?}"
    );
    assert_eq!(engine.inventory(), left);
    let one = site.clean(&["--node", "1"]);
    assert_eq!(String::from_utf8_lossy(&one.stdout).matches("removed container").count(), 6, "{one:?}");
    let rest = site.clean(&[]);
    assert!(rest.status.success(), "{rest:?}");
    let after = engine.inventory();
    assert_eq!(after, before);
    others.expect_there(&after);
    assert!(!site.files().iter().any(|file| file.starts_with("boat-prometheus")), "{:?}", site.files());
}

#[test]
fn a_start_after_a_kill_takes_over_what_was_left() {
    let Some(engine) = Engine::get("a_start_after_a_kill_takes_over_what_was_left") else { return };
    let before = engine.inventory();
    let site = Site::new("again");
    let mut program = site.start_one();
    let first = site.container(0, "model_container");
    program.send(Signal::KILL);
    program.expect_end();
    drop(program);
    let mut program = site.start_one();
    assert_ne!(site.container(0, "model_container"), first);
    let reply = Client::new(site.ports.http(0)).predict("key", "input").unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    program.send(Signal::TERM);
    assert_eq!(program.expect_end().code(), Some(0));
    assert_eq!(engine.inventory(), before);
}
