//! Calls taken apart into inputs, and put together again into outcomes.

use std::collections::HashSet;
use std::ops::Range;

use boat_core::{Call, CallOutcome};

use crate::InputType;
use crate::answer::{self, write_answer};
use crate::request::{Element, parse};

/// What became of one input: its output, or why the backend refused it.
pub(super) type InputOutcome = Result<Output, String>;

/// An output, or what stands for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    /// As JSON.
    pub(super) json: String,
    /// Why it is the application's default instead of the model's, if so.
    pub(super) default: Option<String>,
}

/// The calls of one batch, and how far they are.
pub(super) struct Work<'a> {
    calls: &'a [Call],
    /// For each call its inputs among `inputs`, or why it has none that could be run.
    parts: Vec<Result<Range<usize>, String>>,
    inputs: Vec<Element<'a>>,
    done: Vec<InputOutcome>,
    finished: usize,
}

impl<'a> Work<'a> {
    pub(super) fn of(calls: &'a [Call], input_type: InputType) -> Self {
        let (mut parts, mut inputs) = (Vec::with_capacity(calls.len()), Vec::with_capacity(calls.len()));
        for call in calls {
            parts.push(parse(input_type, call.kind, &call.body).map(|mut elements| {
                let start = inputs.len();
                inputs.append(&mut elements);
                start..inputs.len()
            }));
        }
        Work { calls, parts, inputs, done: Vec::new(), finished: 0 }
    }

    /// The inputs to send next: in order, at most `inputs_max` of them and `bytes_max` bytes of JSON (but one in any case), and
    /// none twice, because Clipper gives all equal inputs in flight the output of the first. Empty when all are done.
    pub(super) fn next_batch(&self, inputs_max: usize, bytes_max: usize) -> &[Element<'a>] {
        self.batch_from(self.done.len(), inputs_max, bytes_max)
    }

    /// The next `batches_max` such batches, one behind the other.
    pub(super) fn next_batches(
        &self,
        batches_max: usize,
        inputs_max: usize,
        bytes_max: usize,
    ) -> Vec<&[Element<'a>]> {
        let mut from = self.done.len();
        let batches = std::iter::from_fn(|| {
            let batch = self.batch_from(from, inputs_max, bytes_max);
            from += batch.len();
            (!batch.is_empty()).then_some(batch)
        });
        batches.take(batches_max).collect()
    }

    fn batch_from(&self, from: usize, inputs_max: usize, bytes_max: usize) -> &[Element<'a>] {
        let rest = self.inputs.get(from..).unwrap_or_default();
        let mut seen = HashSet::with_capacity(rest.len().min(inputs_max));
        let (mut count, mut bytes) = (0, 0);
        for element in rest.iter().take(inputs_max) {
            bytes += element.json.len();
            let fits = bytes <= bytes_max || count == 0;
            if !(fits && seen.insert(element.input.to_bytes())) {
                break;
            }
            count += 1;
        }
        rest.get(..count).unwrap_or_default()
    }

    /// Takes what the next inputs gave, in order.
    pub(super) fn done(&mut self, outcomes: Vec<InputOutcome>) {
        self.done.extend(outcomes);
    }

    /// The outcomes of the calls that are finished since this was last asked, in order.
    pub(super) fn finished(&mut self) -> impl Iterator<Item = (&'a Call, CallOutcome)> {
        let start = self.finished;
        let rest = self.parts.iter().skip(start);
        let done = self.done.len();
        self.finished +=
            rest.take_while(|part| part.as_ref().is_ok_and(|part| part.end <= done) || part.is_err()).count();
        let finished = start..self.finished;
        let parts = self.parts.get(finished.clone()).unwrap_or_default();
        let calls = self.calls.get(finished).unwrap_or_default();
        calls.iter().zip(parts).map(|(call, part)| (call, self.outcome(call, part)))
    }

    /// Whether the first call without an outcome has run in part.
    pub(super) fn is_torn(&self) -> bool {
        let first = self.parts.get(self.finished).and_then(|part| part.as_ref().ok());
        first.is_some_and(|inputs| inputs.start < self.done.len())
    }

    fn outcome(&self, call: &Call, part: &Result<Range<usize>, String>) -> CallOutcome {
        let inputs = match part {
            Ok(inputs) => self.done.get(inputs.clone()).unwrap_or_default(),
            Err(why) => return CallOutcome::Rejected(why.clone()),
        };
        let mut outputs = Vec::with_capacity(inputs.len());
        for (index, input) in inputs.iter().enumerate() {
            match input {
                Ok(output) => outputs.push(output),
                Err(why) if inputs.len() == 1 => return CallOutcome::Rejected(why.clone()),
                Err(why) => return CallOutcome::Rejected(format!("input_batch[{index}]: {why}")),
            }
        }
        let query_id = call.predictions_before;
        let elements = outputs.into_iter().map(|Output { json, default }| answer::Element {
            query_id,
            output: json,
            default: default.as_deref(),
        });
        CallOutcome::Output(write_answer(elements).into())
    }
}

#[cfg(test)]
mod tests {
    use boat_core::RequestKind;

    use super::*;

    fn calls(bodies: &[&str]) -> Vec<Call> {
        let numbered = (1..).zip(bodies);
        let call = |(position, body): (u64, &&str)| Call {
            position,
            predictions_before: position - 1,
            kind: RequestKind::Predict,
            body: (*body).to_owned().into(),
            time_ms: 0,
            seed: 0,
        };
        numbered.map(call).collect()
    }

    fn output(json: &str) -> InputOutcome {
        Ok(Output { json: json.to_owned(), default: None })
    }

    fn batches(bodies: &[&str], inputs_max: usize, bytes_max: usize) -> Vec<Vec<String>> {
        let calls = calls(bodies);
        let mut work = Work::of(&calls, InputType::Strings);
        let mut batches = Vec::new();
        loop {
            let batch: Vec<_> =
                work.next_batch(inputs_max, bytes_max).iter().map(|e| e.input.to_string()).collect();
            if batch.is_empty() {
                return batches;
            }
            work.done(batch.iter().map(|text| output(text)).collect());
            batches.push(batch);
        }
    }

    #[test]
    fn batches_keep_the_order_are_short_and_hold_nothing_twice() {
        let (a, b, c) = (r#"{"input":"a"}"#, r#"{"input":"b"}"#, r#"{"input_batch":["c","a","\u0061"]}"#);
        assert_eq!(batches(&[a, b, a, b, b], 64, 100), [vec!["a", "b"], vec!["a", "b"], vec!["b"]]);
        assert_eq!(batches(&[a, "{}", b, c], 64, 100), [vec!["a", "b", "c"], vec!["a"], vec!["a"]]);
        assert_eq!(batches(&[b, c], 2, 100), [vec!["b", "c"], vec!["a"], vec!["a"]]);
        assert_eq!(batches(&[a, b], 64, 6), [["a", "b"]]);
        assert_eq!(batches(&[a, b], 64, 5), [["a"], ["b"]]);
        assert_eq!(batches(&[a, b], 64, 0), [["a"], ["b"]]);
    }

    #[test]
    fn outcomes_come_in_order_once_all_inputs_of_a_call_are_done() {
        let calls =
            calls(&[r#"{"input":"a"}"#, "{}", r#"{"input_batch":["b","c"]}"#, r#"{"input_batch":[]}"#]);
        let mut work = Work::of(&calls, InputType::Strings);
        assert_eq!(work.finished().count(), 0);
        work.done(vec![output("1"), output("2")]);
        let first: Vec<_> = work.finished().map(|(call, outcome)| (call.position, outcome)).collect();
        let one = br#"{"query_id":0,"output":1,"default":false}"#.as_slice();
        assert_eq!(first[0], (1, CallOutcome::Output(one.into())));
        assert!(matches!(&first[1], (2, CallOutcome::Rejected(why)) if why.contains("missing field")));
        assert!(work.is_torn());
        work.done(vec![Err("no".to_owned())]);
        let rest: Vec<_> = work.finished().map(|(_, outcome)| outcome).collect();
        assert_eq!(rest[0], CallOutcome::Rejected("input_batch[1]: no".to_owned()));
        assert_eq!(rest[1], CallOutcome::Output(br#"{"batch_predictions":[]}"#.as_slice().into()));
        assert!(!work.is_torn());
        assert_eq!(work.finished().count(), 0);
    }

    #[test]
    fn several_batches_follow_each_other() {
        let calls = calls(&[r#"{"input_batch":["a","b","a"]}"#, r#"{"input":"c"}"#]);
        let work = Work::of(&calls, InputType::Strings);
        let lengths = |batches_max| -> Vec<usize> {
            work.next_batches(batches_max, 2, 100).iter().map(|batch| batch.len()).collect()
        };
        assert_eq!((lengths(8), lengths(1)), (vec![2, 2], vec![2]));
    }

    #[test]
    fn all_inputs_of_a_call_share_its_number() {
        let mut calls = calls(&[r#"{"input_batch":["b","c"]}"#]);
        calls[0].predictions_before = 7;
        let mut work = Work::of(&calls, InputType::Strings);
        work.done(vec![output("1"), output("2")]);
        let (_, outcome) = work.finished().next().unwrap();
        let answer = concat!(
            r#"{"batch_predictions":[{"query_id":7,"output":1,"default":false},"#,
            r#"{"query_id":7,"output":2,"default":false}]}"#
        );
        assert_eq!(outcome, CallOutcome::Output(answer.into()));
    }
}
