//! Every input reaches the model once and in order, whatever batches and repeats there are.

use std::collections::HashMap;

use boat_clipper::{ClipperConfig, ClipperPredictor, Engine, HashChain, ModelKind, Renewal};
use boat_core::{Call, Predictor};
use proptest::prelude::*;

use crate::fake::{Act, Fake};
use crate::{calls, input, output, patient, predict};

/// Few different inputs, so that repeats are frequent.
fn inputs() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[a-d]{1,2}", 0..200)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Hands `inputs` over in batches of `calls_max`, and compares with a chain computed here.
async fn compare(predictor: &mut impl Predictor, inputs: &[String], calls_max: usize) {
    let bodies: Vec<String> = inputs.iter().map(|text| input(text)).collect();
    let calls: Vec<Call> = calls(&bodies);
    let mut chain = HashChain::default();
    for (calls, inputs) in calls.chunks(calls_max).zip(inputs.chunks(calls_max)) {
        let (outcomes, ended) = predict(predictor, calls).await;
        assert_eq!(ended, Ok(()));
        let expected = calls.iter().zip(inputs).map(|(call, input)| {
            output(call.predictions_before, &format!("{:?}", chain.step(input.as_bytes())))
        });
        assert_eq!(outcomes, expected.collect::<Vec<_>>());
    }
}

/// A frontend with a hash chain that treats equal inputs of one batch as Clipper does: the model runs for each, and each
/// caller gets the output of the first.
async fn like_clipper() -> Fake {
    let mut chain = HashChain::default();
    Fake::start(move |body| {
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        let single = [json["input"].clone()];
        let inputs = json["input_batch"].as_array().map_or(single.as_slice(), Vec::as_slice);
        let mut first_outputs = HashMap::new();
        let elements: Vec<String> = inputs
            .iter()
            .map(|input| {
                let input = input.as_str().unwrap();
                let output = chain.step(input.as_bytes());
                let output = first_outputs.entry(input).or_insert(output);
                format!("{{\"query_id\":77,\"output\":{output:?},\"default\":false}}")
            })
            .collect();
        Act::Answer(
            200,
            match json["input_batch"].is_array() {
                true => format!("{{\"batch_predictions\":[{}]}}", elements.join(",")).into(),
                false => elements[0].clone().into(),
            },
        )
    })
    .await
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn through_an_engine(inputs in inputs(), calls_max in 1_usize..100, batch_inputs_max in 1_usize..20) {
        runtime().block_on(async {
            let engine = patient(ModelKind::HashChain);
            let engine = Engine::start("127.0.0.1:0".parse().unwrap(), engine).await.unwrap();
            let (address, renewal) = (engine.address(), Renewal::Engine(Box::new(engine)));
            let config = ClipperConfig { batch_inputs_max, ..ClipperConfig::default() };
            let mut predictor = ClipperPredictor::new(address, config, renewal).unwrap();
            for _ in 0..2 {
                predictor.reset().await.unwrap();
                compare(&mut predictor, &inputs, calls_max).await;
            }
        });
    }

    #[test]
    fn through_a_frontend_that_confuses_equal_inputs(inputs in inputs(), calls_max in 1_usize..100) {
        runtime().block_on(async {
            let mut fake = like_clipper().await;
            let config = ClipperConfig { batch_inputs_max: 16, ..ClipperConfig::default() };
            let mut predictor = ClipperPredictor::new(fake.address, config, Renewal::External).unwrap();
            compare(&mut predictor, &inputs, calls_max).await;
            let sent = fake.seen().len();
            assert!(sent >= inputs.len() / 16, "{sent} requests");
            assert_eq!(fake.connections(), usize::from(!inputs.is_empty()));
        });
    }
}
