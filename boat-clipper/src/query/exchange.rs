//! One batch of inputs sent, and what its answer means.

use std::sync::atomic::{AtomicBool, Ordering};

use boat_core::PredictorError;
use bytes::Bytes;
use http::{Method, StatusCode};

use super::connection::{Connection, ExchangeError};
use super::work::{InputOutcome, Output};
use crate::answer::{Prediction, Refusal, read_answer};
use crate::engine::NO_MODEL;
use crate::request::Element;

/// How much of an unexpected answer stands in an error.
const REASON_CHARS_MAX: usize = 300;

/// How answers are judged.
#[derive(Debug)]
pub(super) struct Rules {
    /// The path of predictions.
    pub(super) path: String,
    /// Whether the model keeps state.
    pub(super) keeps_state: bool,
    /// Whether the frontend is an engine of Boat's: it says [`NO_MODEL`] only when nothing ran, whatever ran before.
    pub(super) is_engine: bool,
    /// Whether a prediction was answered since the last reset.
    pub(super) answered: AtomicBool,
}

/// The answer to one batch of inputs.
enum Reply {
    /// One output for each.
    Outputs(Vec<Output>),
    /// Nothing ran, because of this.
    Refused(String),
}

impl Rules {
    /// Runs a batch of inputs, in halves if need be. Refused ones stand in the outcomes like answered ones. The error comes with
    /// how many inputs ran.
    pub(super) async fn run(
        &self,
        connection: &mut Connection,
        inputs: &[Element<'_>],
    ) -> Result<Vec<InputOutcome>, (usize, PredictorError)> {
        let mut outcomes: Vec<InputOutcome> = Vec::with_capacity(inputs.len());
        // Each part is sent, or split in two: less than twice as many requests as inputs.
        let mut parts = vec![inputs];
        while let Some(part) = parts.pop() {
            let (first, second) = part.split_at(part.len() / 2);
            match self.send(connection, part).await.map_err(|error| (outcomes.len(), error))? {
                Reply::Outputs(outputs) => outcomes.extend(outputs.into_iter().map(Ok)),
                Reply::Refused(why) if part.len() <= 1 => outcomes.push(Err(why)),
                Reply::Refused(_) => parts.extend([second, first]),
            }
        }
        Ok(outcomes)
    }

    async fn send(
        &self,
        connection: &mut Connection,
        inputs: &[Element<'_>],
    ) -> Result<Reply, PredictorError> {
        let exchange = connection.exchange(Method::POST, &self.path, body(inputs)).await;
        let (status, answer) = exchange.map_err(|error| match error {
            ExchangeError::NotSent(why) => PredictorError::Unavailable(why),
            ExchangeError::Unknown(why) => PredictorError::StateLost(why),
        })?;
        // A model's bytes pass through Clipper as they are; those that are no UTF-8 become U+FFFD, on every node alike.
        let answer = String::from_utf8_lossy(&answer);
        match status {
            StatusCode::OK => self.outputs(&answer, inputs.len()).map(Reply::Outputs),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Ok(Reply::Refused(reason(&answer))),
            _ => Err(PredictorError::StateLost(format!("status {status}: {}", reason(&answer)))),
        }
    }

    fn outputs(&self, answer: &str, count: usize) -> Result<Vec<Output>, PredictorError> {
        let predictions = read_answer(answer, count);
        let had_answered = self.answered.load(Ordering::Relaxed);
        let predictions = predictions.map_err(|why| {
            self.answered.store(true, Ordering::Relaxed);
            PredictorError::StateLost(why)
        })?;
        if self.keeps_state
            && let Some(default) = predictions.iter().find(|prediction| prediction.default)
        {
            let nothing_ran = predictions.iter().all(|prediction| {
                prediction.default && prediction.default_explanation.as_deref() == Some(NO_MODEL)
            });
            if nothing_ran && (self.is_engine || !had_answered) {
                return Err(PredictorError::Unavailable("no container serves the model yet".to_owned()));
            }
            self.answered.store(true, Ordering::Relaxed);
            let why = default.default_explanation.as_deref().unwrap_or("no explanation");
            let why = format!("the application's default came instead of an output: {why}");
            return Err(PredictorError::StateLost(why));
        }
        self.answered.store(true, Ordering::Relaxed);
        let output = |prediction: Prediction<'_>| Output {
            json: prediction.output.get().to_owned(),
            default: prediction
                .default
                .then(|| prediction.default_explanation.unwrap_or("no explanation".into()).into_owned()),
        };
        Ok(predictions.into_iter().map(output).collect())
    }
}

/// One input goes as `input`, several as `input_batch`.
fn body(inputs: &[Element<'_>]) -> Bytes {
    let texts: Vec<&str> = inputs.iter().map(|element| element.json.as_ref()).collect();
    match texts.as_slice() {
        [one] => format!("{{\"input\":{one}}}").into(),
        several => format!("{{\"input_batch\":[{}]}}", several.join(",")).into(),
    }
}

/// What an answer says, in one line.
fn reason(answer: &str) -> String {
    let reason = match serde_json::from_str::<Refusal<'_>>(answer) {
        Ok(refusal) => refusal.to_string(),
        Err(_) => answer.to_owned(),
    };
    let words: Vec<&str> = reason.split_whitespace().collect();
    words.join(" ").chars().take(REASON_CHARS_MAX).collect()
}
