//! What the predictor makes of a frontend that misbehaves.

use std::net::SocketAddr;

use boat_clipper::{ClipperConfig, ClipperPredictor, Engine, HashChain, ModelKind, Renewal};
use boat_core::{CallOutcome, Predictor, RequestKind, StateKind};
use tokio::net::TcpListener;

use crate::fake::{Act, Fake};
use crate::{calls, input, lost, output, patient, predict, unavailable};

fn answer(text: &str) -> Vec<u8> {
    format!("{{\"query_id\":5,\"output\":{text},\"default\":false}}").into()
}

fn by_default() -> Vec<u8> {
    br#"{"query_id":5,"output":"","default":true,"default_explanation":"too late"}"#.to_vec()
}

fn predictor_with(address: SocketAddr, config: ClipperConfig) -> ClipperPredictor {
    let config = ClipperConfig { probe: false, ..config };
    ClipperPredictor::new(address, config, Renewal::External).unwrap()
}

fn predictor(address: SocketAddr) -> ClipperPredictor {
    predictor_with(address, ClipperConfig::default())
}

#[tokio::test]
async fn outputs_keep_their_text_and_get_our_query_id() {
    let fake = Fake::always(Act::Answer(200, answer(r#"{ "b":1.50, "a":1E2 }"#))).await;
    let mut predictor = predictor(fake.address);
    let mut calls = calls(&[input("a")]);
    calls[0].predictions_before = 41;
    let (outcomes, ended) = predict(&mut predictor, &calls).await;
    assert_eq!(ended, Ok(()));
    assert_eq!(outcomes, [output(41, r#"{ "b":1.50, "a":1E2 }"#)]);
}

#[tokio::test]
async fn outputs_that_are_no_text_become_text() {
    let fake =
        Fake::always(Act::Answer(200, b"{\"query_id\":0,\"output\":\"\xff\",\"default\":false}".to_vec()));
    let (outcomes, ended) = predict(&mut predictor(fake.await.address), &calls(&[input("a")])).await;
    assert_eq!((outcomes, ended), (vec![output(0, "\"\u{fffd}\"")], Ok(())));
}

#[tokio::test]
async fn every_doubt_about_what_ran_is_a_lost_state() {
    let batch = format!("{{\"batch_predictions\":[{}]}}", String::from_utf8(answer("1")).unwrap());
    for (act, why) in [
        (Act::Close, "no answer"),
        (Act::Hang, "no answer within 200ms"),
        (Act::BreakOff(answer("1")), "broke off"),
        (Act::Answer(500, b"An error\noccurred!".to_vec()), "500 Internal Server Error: An error occurred!"),
        (Act::Answer(503, Vec::new()), "503"),
        (Act::Answer(302, Vec::new()), "302"),
        (Act::Answer(404, Vec::new()), "404"),
        (Act::Answer(200, Vec::new()), "an answer that is none"),
        (Act::Answer(200, b"<html>".to_vec()), "an answer that is none"),
        (Act::Answer(200, batch.into()), "an answer that is none"),
        (Act::Answer(200, by_default()), "default came instead of an output: too late"),
        (Act::Answer(200, vec![b' '; 2_000]), "broke off"),
    ] {
        let mut fake = Fake::always(act.clone()).await;
        let call_timeout_ms = if matches!(act, Act::Hang) { 200 } else { 20_000 };
        let config = ClipperConfig { call_timeout_ms, answer_bytes_max: 1_000, ..ClipperConfig::default() };
        let mut predictor = predictor_with(fake.address, config);
        let (outcomes, ended) = predict(&mut predictor, &calls(&[input("a")])).await;
        let told = lost(ended);
        assert!(outcomes.is_empty() && told.contains(why), "{act:?}: {told}");
        // Nothing is sent any more before a reset.
        assert_eq!(fake.seen().len(), 1);
        assert_eq!(lost(predict(&mut predictor, &calls(&[input("a")])).await.1), told);
        assert!(fake.seen().is_empty());
    }
}

#[tokio::test]
async fn too_few_predictions_for_a_batch_are_a_lost_state() {
    let batch = format!("{{\"batch_predictions\":[{}]}}", String::from_utf8(answer("1")).unwrap());
    let fake = Fake::always(Act::Answer(200, batch.into())).await;
    let (outcomes, ended) = predict(&mut predictor(fake.address), &calls(&[input("a"), input("b")])).await;
    assert!(outcomes.is_empty());
    assert!(lost(ended).contains("1 predictions for 2 inputs"));
}

fn stateless() -> ClipperConfig {
    ClipperConfig { state_kind: StateKind::Stateless, ..ClipperConfig::default() }
}

#[tokio::test]
async fn without_state_a_default_is_passed_on_as_what_it_is() {
    let mut answers = [by_default(), answer("1")].into_iter();
    let fake = Fake::start(move |_| Act::Answer(200, answers.next().unwrap())).await;
    let mut predictor = predictor_with(fake.address, stateless());
    let default = r#"{"query_id":0,"output":"","default":true,"default_explanation":"too late"}"#;
    let default = CallOutcome::Output(default.into());
    assert_eq!(predict(&mut predictor, &calls(&[input("a")])).await, (vec![default], Ok(())));
    assert_eq!(predict(&mut predictor, &calls(&[input("a")])).await, (vec![output(0, "1")], Ok(())));
}

#[tokio::test]
async fn without_state_several_batches_are_in_flight_and_outcomes_keep_their_order() {
    let fake = Fake::start(|body| {
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        Act::Answer(200, answer(&json["input"].to_string()))
    })
    .await;
    let config = ClipperConfig { batch_inputs_max: 1, concurrent_batches_max: 3, ..stateless() };
    let mut predictor = predictor_with(fake.address, config);
    let texts = ["a", "a", "b", "c", "a"];
    let (outcomes, ended) = predict(&mut predictor, &calls(&texts.map(input))).await;
    assert_eq!((ended, fake.connections()), (Ok(()), 3));
    let expected = (0..).zip(texts).map(|(query_id, text)| output(query_id, &format!("{text:?}")));
    assert_eq!(outcomes, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn without_state_what_nobody_knows_is_tried_again_until_it_may_be_to_blame() {
    let fake = Fake::start(|body| match body.contains("bad") {
        true => Act::Close,
        false => Act::Answer(200, answer("1")),
    })
    .await;
    let mut predictor = predictor_with(fake.address, stateless());
    for _ in 0..2 {
        unavailable(predict(&mut predictor, &calls(&[input("bad")])).await.1);
        unavailable(predict(&mut predictor, &calls(&[input("bad")])).await.1);
        lost(predict(&mut predictor, &calls(&[input("bad")])).await.1);
    }
    unavailable(predict(&mut predictor, &calls(&[input("bad")])).await.1);
    assert_eq!(predict(&mut predictor, &calls(&[input("a")])).await, (vec![output(0, "1")], Ok(())));
    unavailable(predict(&mut predictor, &calls(&[input("bad")])).await.1);
}

#[tokio::test]
async fn that_no_container_has_come_is_no_loss_before_anything_ran() {
    let none = br#"{"query_id":5,"output":"","default":true,"default_explanation":"No connected models found for query"}"#;
    let mut answers = [none.to_vec(), answer("1"), none.to_vec()].into_iter();
    let fake = Fake::start(move |_| Act::Answer(200, answers.next().unwrap())).await;
    let mut predictor = predictor(fake.address);
    assert!(unavailable(predict(&mut predictor, &calls(&[input("a")])).await.1).contains("no container"));
    assert_eq!(predict(&mut predictor, &calls(&[input("a")])).await.1, Ok(()));
    assert!(lost(predict(&mut predictor, &calls(&[input("b")])).await.1).contains("No connected models"));
}

/// A foreign Clipper that is fresh, answers the probe so, and then says so of its cache.
async fn probed(probe: Vec<u8>, hit_ratio: &'static str) -> (Fake, ClipperPredictor) {
    let fake = Fake::start(move |body| match body {
        "" => {
            let counter = r#"{"app:default:num_predictions":{"count":"0"}}"#;
            let ratio = format!("{{\"internal:prediction_cache_hit_ratio\":{{\"ratio\":\"{hit_ratio}\"}}}}");
            Act::Answer(200, format!("{{\"counters\":[{counter}],\"ratio_counters\":[{ratio}]}}").into())
        }
        _ => Act::Answer(200, probe.clone()),
    })
    .await;
    let predictor = ClipperPredictor::new(fake.address, ClipperConfig::default(), Renewal::External).unwrap();
    (fake, predictor)
}

#[tokio::test]
async fn a_foreign_clipper_is_asked_the_same_twice_before_it_is_ready() {
    let (mut fake, mut predictor) = probed(answer("1"), "0").await;
    assert_eq!(predictor.reset().await, Ok(()));
    let probe = r#"{"input":"boat probe"}"#;
    assert_eq!(fake.seen(), ["", probe, probe, ""]);
    for (answer, hit_ratio, told) in [
        (answer("1"), "0.5", "start its query frontend with --prediction_cache_size=1"),
        (by_default(), "0", "too late"),
        (b"{}".to_vec(), "0", "an answer that is none"),
    ] {
        let (_fake, mut predictor) = probed(answer, hit_ratio).await;
        let why = unavailable(predictor.reset().await);
        assert!(why.contains(told), "{why}");
    }
}

#[tokio::test]
async fn a_refused_connection_changes_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut predictor = predictor(address);
    for _ in 0..2 {
        let (outcomes, ended) = predict(&mut predictor, &calls(&[input("a")])).await;
        assert!(outcomes.is_empty() && unavailable(ended).contains(&address.to_string()));
    }
    assert!(unavailable(predictor.reset().await).contains("cannot connect"));
}

#[tokio::test]
async fn outcomes_before_an_outage_stand() {
    let fake = Fake::always(Act::AnswerAndVanish(answer("1"))).await;
    let config = ClipperConfig { batch_inputs_max: 1, ..ClipperConfig::default() };
    let mut predictor = predictor_with(fake.address, config);
    let (outcomes, ended) = predict(&mut predictor, &calls(&[input("a"), input("b")])).await;
    unavailable(ended);
    assert_eq!(outcomes, [output(0, "1")]);
}

#[tokio::test]
async fn an_outage_within_a_clients_batch_is_a_lost_state() {
    let fake = Fake::always(Act::AnswerAndVanish(answer("1"))).await;
    let config = ClipperConfig { batch_inputs_max: 1, ..ClipperConfig::default() };
    let mut predictor = predictor_with(fake.address, config);
    let (outcomes, ended) = predict(&mut predictor, &calls(&[r#"{"input_batch":["a","b"]}"#])).await;
    assert!(outcomes.is_empty() && lost(ended).contains("ran in part"));
}

#[tokio::test]
async fn what_clipper_refuses_is_found_alone_and_the_rest_runs_in_order() {
    let refusal = br#"{"error":"Json error","cause":"no \n good"}"#.to_vec();
    let mut fake = Fake::start(move |body| {
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        match json["input_batch"].as_array() {
            _ if body.contains("bad") => Act::Answer(400, refusal.clone()),
            None => Act::Answer(200, answer(&json["input"].to_string())),
            Some(inputs) => {
                let all = inputs.iter().map(|input| String::from_utf8(answer(&input.to_string())).unwrap());
                let all = all.collect::<Vec<_>>().join(",");
                Act::Answer(200, format!("{{\"batch_predictions\":[{all}]}}").into())
            }
        }
    })
    .await;
    let bodies =
        [input("a"), input("b"), input("c"), input("bad 1"), r#"{"input_batch":["d","bad 2"]}"#.to_owned()];
    let (outcomes, ended) = predict(&mut predictor(fake.address), &calls(&bodies)).await;
    assert_eq!(ended, Ok(()));
    let rejected = "Json error: no good".to_owned();
    assert_eq!(
        outcomes,
        [
            output(0, "\"a\""),
            output(1, "\"b\""),
            output(2, "\"c\""),
            CallOutcome::Rejected(rejected.clone()),
            CallOutcome::Rejected(format!("input_batch[1]: {rejected}")),
        ]
    );
    let ran: Vec<String> = fake.seen().into_iter().filter(|body| !body.contains("bad")).collect();
    assert_eq!(ran, [r#"{"input_batch":["a","b","c"]}"#, r#"{"input":"d"}"#]);
}

#[tokio::test]
async fn what_cannot_be_run_is_rejected_without_being_sent() {
    let mut fake = Fake::always(Act::Answer(200, answer("1"))).await;
    let mut calls = calls(&[input("a"), input(""), "{}".to_owned()]);
    calls[2].kind = RequestKind::Configure;
    let (outcomes, ended) = predict(&mut predictor(fake.address), &calls).await;
    assert_eq!(ended, Ok(()));
    assert_eq!(outcomes[1], CallOutcome::Rejected("input: is empty".to_owned()));
    assert!(matches!(&outcomes[2], CallOutcome::Rejected(why) if why.contains("not the log's")));
    assert_eq!(fake.seen(), [input("a")]);
}

#[tokio::test]
async fn connections_are_kept_but_not_for_long() {
    for (idle_timeout_ms, connections) in [(2_000, 1), (0, 3)] {
        let fake = Fake::always(Act::Answer(200, answer("1"))).await;
        let config = ClipperConfig { idle_timeout_ms, ..ClipperConfig::default() };
        let mut predictor = predictor_with(fake.address, config);
        for _ in 0..3 {
            assert_eq!(predict(&mut predictor, &calls(&[input("a")])).await.1, Ok(()));
        }
        assert_eq!(fake.connections(), connections, "{idle_timeout_ms}");
    }
}

#[tokio::test]
async fn a_connection_that_the_frontend_closed_is_replaced() {
    let mut fake = Fake::always(Act::AnswerAndClose(answer("1"))).await;
    let mut predictor = predictor(fake.address);
    for _ in 0..3 {
        assert_eq!(predict(&mut predictor, &calls(&[input("a")])).await, (vec![output(0, "1")], Ok(())));
    }
    assert_eq!((fake.connections(), fake.seen().len()), (3, 3));
}

#[tokio::test]
async fn a_call_given_up_half_way_is_a_lost_state() {
    let mut fake = Fake::always(Act::Hang).await;
    let mut predictor = predictor(fake.address);
    let calls = calls(&[input("a")]);
    tokio::select! {
        _ = predict(&mut predictor, &calls) => panic!("nobody answered"),
        request = fake.requests.recv() => assert_eq!(request, Some(input("a"))),
    }
    assert!(lost(predict(&mut predictor, &calls).await.1).contains("given up half way"));
}

#[tokio::test]
async fn a_foreign_clipper_is_used_only_while_it_is_fresh() {
    let metrics = |count: &str| {
        let counter = format!("{{\"app:default:num_predictions\":{{\"count\":\"{count}\"}}}}");
        Act::Answer(200, format!("{{\"counters\":[{counter}],\"meters\":[]}}").into())
    };
    for (act, told) in [
        (metrics("3"), "restart the query frontend and the model container"),
        (Act::Answer(200, br#"{"counters":[]}"#.to_vec()), "no application default"),
        (Act::Answer(500, Vec::new()), "no query frontend"),
        (Act::Close, "no answer"),
    ] {
        let fake = Fake::always(act).await;
        let why = unavailable(predictor(fake.address).reset().await);
        assert!(why.contains(told), "{why}");
    }
    let fake = Fake::always(metrics("0")).await;
    assert_eq!(predictor(fake.address).reset().await, Ok(()));
    let fake = Fake::always(metrics("3")).await;
    assert_eq!(predictor_with(fake.address, stateless()).reset().await, Ok(()));
}

#[tokio::test]
async fn a_count_of_none_proves_nothing_while_a_lost_call_may_not_have_been_counted() {
    for answers in [0, 1] {
        let mut left = answers;
        let fake = Fake::start(move |body| {
            if body.is_empty() {
                let counter = br#"{"counters":[{"app:default:num_predictions":{"count":"0"}}]}"#;
                return Act::Answer(200, counter.to_vec());
            }
            left -= 1;
            if left < 0 { Act::Close } else { Act::Answer(200, answer("1")) }
        })
        .await;
        let mut predictor = predictor(fake.address);
        assert_eq!(predictor.reset().await, Ok(()));
        for _ in 0..answers {
            assert_eq!(predict(&mut predictor, &calls(&[input("a")])).await.1, Ok(()));
        }
        lost(predict(&mut predictor, &calls(&[input("a")])).await.1);
        match answers {
            0 => assert!(unavailable(predictor.reset().await).contains("then this node")),
            _ => assert_eq!(predictor.reset().await, Ok(())),
        }
    }
}

#[tokio::test]
async fn after_a_reset_an_engines_model_is_fresh() {
    let engine = patient(ModelKind::HashChain);
    let engine = Engine::start("127.0.0.1:0".parse().unwrap(), engine).await.unwrap();
    let address = engine.address();
    let renewal = Renewal::Engine(Box::new(engine));
    let mut predictor = ClipperPredictor::new(address, ClipperConfig::default(), renewal).unwrap();
    let fresh = format!("{:?}", HashChain::default().step(b"a"));
    for _ in 0..3 {
        predictor.reset().await.unwrap();
        assert_eq!(predict(&mut predictor, &calls(&[input("a")])).await, (vec![output(0, &fresh)], Ok(())));
    }
    assert_ne!(predict(&mut predictor, &calls(&[input("a")])).await.0, [output(0, &fresh)]);
}
