//! Container messages under attack: see [`boat_core::fuzzing`].

use boat_core::fuzzing::{Read, Target, Verdict, round_trip};
use bytes::{Buf, Bytes};

use super::{FromContainer, Inputs, Metadata, ToContainer};
use crate::InputType;
use crate::zmtp::Message;

pub(crate) fn targets() -> Vec<Target> {
    vec![
        Target { name: "from_container", run: from_container, samples: from_containers },
        Target { name: "to_container", run: to_container, samples: to_containers },
    ]
}

/// The frames of a message: before each its length, in a byte.
fn message_of(input: &[u8]) -> Message {
    let mut rest = Bytes::copy_from_slice(input);
    let mut frames = Vec::new();
    while rest.has_remaining() {
        let bytes = usize::from(rest.get_u8()).min(rest.len());
        frames.push(rest.split_to(bytes));
    }
    frames
}

fn input_of(message: &Message) -> Vec<u8> {
    // Samples are short.
    message.iter().flat_map(|frame| [&[frame.len() as u8][..], frame].concat()).collect()
}

fn from_container(input: &[u8]) -> Verdict {
    round_trip(FromContainer::decode(&message_of(input)), |read| FromContainer::decode(&read.encode()))
}

fn from_containers() -> Vec<Vec<u8>> {
    let (model_name, model_version) = ("m".to_owned(), "1".to_owned());
    let metadata = Metadata { model_name, model_version, input_type: InputType::Doubles };
    let outputs = vec![Bytes::from_static(b"1.5"), Bytes::new()];
    let messages = [
        FromContainer::Heartbeat,
        FromContainer::Metadata(metadata),
        FromContainer::Response { id: 42, outputs },
    ];
    messages.iter().map(|message| input_of(&message.encode())).collect()
}

/// The inputs of a batch are taken apart, too.
fn to_container(input: &[u8]) -> Verdict {
    let read = ToContainer::decode(&message_of(input));
    if let Ok(ToContainer::Predict { inputs: Inputs { input_type, inputs }, .. }) = &read {
        for one in inputs {
            let verdict = round_trip(crate::Input::from_bytes(*input_type, one).map(Same), |same| {
                crate::Input::from_bytes(*input_type, &same.0.to_bytes()).map(Same)
            });
            let (Read::Whole | Read::Refused) = verdict?;
        }
    }
    round_trip(read, |read| ToContainer::decode(&read.encode()))
}

/// Inputs are the same when their bytes are: a number that is none does not equal itself.
#[derive(Debug)]
struct Same(crate::Input);

impl PartialEq for Same {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bytes() == other.0.to_bytes()
    }
}

fn to_containers() -> Vec<Vec<u8>> {
    let inputs = vec![Bytes::from_static(b"12345678"), Bytes::new()];
    let predict =
        |input_type| ToContainer::Predict { id: 42, inputs: Inputs { input_type, inputs: inputs.clone() } };
    let messages = [
        ToContainer::Heartbeat { wants_metadata: true },
        predict(InputType::Doubles),
        predict(InputType::Strings),
    ];
    messages.iter().map(|message| input_of(&message.encode())).collect()
}
