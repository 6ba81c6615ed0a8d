use super::*;

fn valid() -> NodeConfig {
    let members = "0=127.0.0.1:8000,1=127.0.0.1:8001,2=127.0.0.1:8002".parse().unwrap();
    NodeConfig { data_dir: "boat-0".into(), members, ..NodeConfig::default() }
}

/// The field that a changed configuration is refused for.
fn refused(change: impl FnOnce(&mut NodeConfig)) -> &'static str {
    let mut config = valid();
    change(&mut config);
    match config.check() {
        Err(
            ConfigError::Bound { field, .. }
            | ConfigError::Missing { field, .. }
            | ConfigError::Conflict { field, .. },
        ) => field,
        other => panic!("not refused: {other:?}"),
    }
}

fn accepted(change: impl FnOnce(&mut NodeConfig)) {
    let mut config = valid();
    change(&mut config);
    assert_eq!(config.clone().check().map(Checked::into_inner), Ok(config));
}

#[test]
fn the_default_reads_back_as_it_was_written() {
    for config in [NodeConfig::default(), valid()] {
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<NodeConfig>(&text).unwrap(), config, "{text}");
    }
    assert_eq!(toml::from_str::<NodeConfig>("").unwrap(), NodeConfig::default());
}

#[test]
fn a_file_of_the_first_release_still_reads() {
    let text = include_str!("first_release.toml");
    let config = toml::from_str::<NodeConfig>(text).unwrap().check().unwrap();
    assert_eq!(config.node_id, NodeId(1));
    assert_eq!(config.peer_listen_address(), "0.0.0.0:9001");
    assert_eq!((config.timing.tick_ms, config.timing.heartbeat_ticks), (10, 3));
    assert_eq!(config.limits.proposals_max, 100);
    assert_eq!(config.sessions.key_age_ms, 1_200_000);
    assert!(config.http_options().allow_control);
}

#[test]
fn unknown_keys_are_refused_everywhere() {
    for text in [
        "nod_id = 1",
        "[timing]\ntick = 1",
        "[limits]\nx = 1",
        "[sessions]\nx = 1",
        "[http]\nx = 1",
        "[backend]\nx = 1",
    ] {
        let error = toml::from_str::<NodeConfig>(text).unwrap_err().to_string();
        assert!(error.contains("unknown field"), "{text}: {error}");
    }
}

#[test]
fn the_backend_has_its_own_section() {
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Engine {
        port: u16,
    }
    let config = toml::from_str::<NodeConfig<Engine>>("node_id = 2\n[backend]\nport = 1337").unwrap();
    assert_eq!((config.node_id, config.backend), (NodeId(2), Engine { port: 1337 }));
    assert_eq!(toml::from_str::<NodeConfig<Engine>>("").unwrap().backend, Engine::default());
}

#[test]
fn what_has_no_default_must_be_there() {
    assert_eq!(refused(|config| config.members = MemberList::default()), "members");
    assert_eq!(refused(|config| config.data_dir = PathBuf::new()), "data_dir");
    assert_eq!(refused(|config| config.node_id = NodeId(3)), "node_id");
}

#[test]
fn peers_are_listened_for_where_the_list_says_unless_told_otherwise() {
    assert_eq!(valid().check().unwrap().peer_listen_address(), "127.0.0.1:8000");
    let elsewhere = NodeConfig { peer_address: Some("[::]:9000".into()), ..valid() };
    assert_eq!(elsewhere.check().unwrap().peer_listen_address(), "[::]:9000");
    for bad in ["", "host", ":80", "host:port", "host:70000"] {
        assert_eq!(refused(|config| config.peer_address = Some(bad.into())), "peer_address", "{bad}");
    }
}

/// For each field: its name, and the last value inside and the first outside of both its bounds.
macro_rules! bounds {
    ($($name:literal: $($field:ident).+, $lowest:expr, $highest:expr, below $below:expr, above $above:expr;)*) => {
        $(
            accepted(|config| config.$($field).+ = $lowest);
            accepted(|config| config.$($field).+ = $highest);
            for outside in [$below, $above].into_iter().flatten() {
                assert_eq!(refused(|config| config.$($field).+ = outside), $name, "{outside}");
            }
        )*
    };
}

#[test]
fn every_bound_holds_at_its_edge() {
    const MIB: usize = 1 << 20;
    const WEEK_MS: u64 = 604_800_000;
    bounds! {
        "timing.tick_ms": timing.tick_ms, 1, 1_000, below Some(0), above Some(1_001);
        "timing.heartbeat_ticks": timing.heartbeat_ticks, 1, 7, below Some(0), above Some(101);
        "timing.election_ticks": timing.election_ticks, 6, 1_000, below Some(5), above Some(1_001);
        "limits.proposals_max": limits.proposals_max, 1, MIB, below Some(0), above Some(MIB + 1);
        "limits.proposal_bytes_max": limits.proposal_bytes_max, MIB, 4_096 * MIB, below Some(MIB - 1), above Some(4_096 * MIB + 1);
        "limits.request_bytes_max": limits.request_bytes_max, 1, 8 * MIB, below Some(0), above Some(8 * MIB + 1);
        "limits.command_bytes_max": limits.command_bytes_max, 1_024, 8 * MIB, below Some(1_023), above Some(8 * MIB + 1);
        "limits.segment_bytes": limits.segment_bytes, 2 * MIB, 1_024 * MIB, below Some(2 * MIB - 1), above Some(1_024 * MIB + 1);
        "limits.leader_wait_ms": limits.leader_wait_ms, 0, 60_000, below None, above Some(60_001);
        "limits.call_ms_max": limits.call_ms_max, 1, 3_600_000, below Some(0), above Some(3_600_001);
        "sessions.session_outcomes_max": sessions.session_outcomes_max, 1, 65_536, below Some(0), above Some(65_537);
        "sessions.sessions_max": sessions.sessions_max, 1, MIB, below Some(0), above Some(MIB + 1);
        "sessions.session_age_ms_max": sessions.session_age_ms_max, 1_000, WEEK_MS, below Some(999), above Some(WEEK_MS + 1);
        "sessions.key_age_ms": sessions.key_age_ms, 1_000, WEEK_MS, below Some(999), above Some(WEEK_MS + 1);
        "sessions.key_table_bytes_max": sessions.key_table_bytes_max, 65_536, 65_536 * MIB, below Some(65_535), above Some(65_536 * MIB + 1);
        "http.request_timeout_ms": http.request_timeout_ms, 1, 60_000, below Some(0), above Some(60_001);
        "http.request_timeout_ms_max": http.request_timeout_ms_max, 10_000, 3_600_000, below Some(0), above Some(3_600_001);
        "http.header_timeout_ms": http.header_timeout_ms, 1, 600_000, below Some(0), above Some(600_001);
        "http.body_timeout_ms": http.body_timeout_ms, 1, 600_000, below Some(0), above Some(600_001);
        "http.write_timeout_ms": http.write_timeout_ms, 1, 600_000, below Some(0), above Some(600_001);
        "http.shutdown_timeout_ms": http.shutdown_timeout_ms, 0, 600_000, below None, above Some(600_001);
        "http.header_bytes_max": http.header_bytes_max, 1_024, 262_144, below Some(1_023), above Some(262_145);
        "http.connections_max": http.connections_max, 1, 65_536, below Some(0), above Some(65_537);
    }
}

#[test]
fn an_error_names_the_field_and_its_bounds() {
    let mut config = valid();
    config.timing.tick_ms = 0;
    assert_eq!(config.check().unwrap_err().to_string(), "`timing.tick_ms` is 0: it must be from 1 to 1000");
}

#[test]
fn a_wait_is_granted_up_to_the_highest() {
    let options = HttpOptions::default();
    assert_eq!(options.request_timeout(None).as_secs(), 10);
    assert_eq!(options.request_timeout(Some(3)).as_secs(), 3);
    assert_eq!(options.request_timeout(Some(61)).as_secs(), 60);
    assert_eq!(options.request_timeout(Some(u64::MAX)).as_secs(), 60);
}
