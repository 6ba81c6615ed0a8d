//! The messages, as frames.
//!
//! The first frame is always empty. Integers are little-endian.
//!
//! ```text
//! container to frontend
//!   heartbeat | 02000000 |
//!   metadata  | 00000000 | name | version | input type as ASCII decimal | 03000000 |
//!   response  | 01000000 | id u32 | header_bytes u64 | count u64, count x bytes u64 | output | ...
//! frontend to container
//!   heartbeat | 03000000 | 02000000 | 00000000, or 01000000: send your metadata |
//!   predict   | 03000000 | 01000000 | id u32 | 00000000 | header_bytes u64 | type u64, count u64, count x bytes u64 | input | ...
//! ```

use bytes::Bytes;

use super::RPC_VERSION;
use crate::InputType;
use crate::zmtp::Message;

const NEW_CONTAINER: u32 = 0;
const CONTENT: u32 = 1;
const HEARTBEAT: u32 = 2;
const PREDICT: u32 = 0;

/// A message that is none of the protocol's: what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(&'static str);

/// What a container says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// The model's name.
    pub(crate) model_name: String,
    /// The model's version.
    pub(crate) model_version: String,
    /// What it takes.
    pub(crate) input_type: InputType,
}

/// What a container sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FromContainer {
    /// It lives.
    Heartbeat,
    /// It wants to serve a model.
    Metadata(Metadata),
    /// The outputs of a batch.
    Response {
        /// Which batch.
        id: u32,
        /// The outputs, in order.
        outputs: Vec<Bytes>,
    },
}

/// The inputs of a batch, as their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// What they are.
    pub(crate) input_type: InputType,
    /// The bytes of each, in order.
    pub(crate) inputs: Vec<Bytes>,
}

/// What a frontend sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToContainer {
    /// The answer to a heartbeat.
    Heartbeat {
        /// The frontend does not know the container: it is to send its metadata.
        wants_metadata: bool,
    },
    /// A batch to run.
    Predict {
        /// Which batch: stands in the response.
        id: u32,
        /// What to run.
        inputs: Inputs,
    },
}

impl FromContainer {
    pub(crate) fn encode(&self) -> Message {
        let mut message = vec![Bytes::new()];
        match self {
            FromContainer::Heartbeat => message.push(word(HEARTBEAT)),
            FromContainer::Metadata(metadata) => message.extend([
                word(NEW_CONTAINER),
                Bytes::from(metadata.model_name.clone()),
                Bytes::from(metadata.model_version.clone()),
                Bytes::from(metadata.input_type.code().to_string()),
                word(RPC_VERSION),
            ]),
            FromContainer::Response { id, outputs } => {
                message.extend([word(CONTENT), word(*id)]);
                push_content(&mut message, &[], outputs);
            }
        }
        message
    }

    /// Reads a message. One of another version of the protocol is malformed too.
    pub(crate) fn decode(message: &[Bytes]) -> Result<Self, Malformed> {
        let (kind, rest) = split_kind(message)?;
        match (kind, rest) {
            (HEARTBEAT, []) => Ok(FromContainer::Heartbeat),
            (NEW_CONTAINER, [name, version, input_type, rpc_version]) => {
                if read_word(rpc_version) != Ok(RPC_VERSION) {
                    return Err(Malformed("metadata of another version of the protocol than 3"));
                }
                let text =
                    |bytes: &Bytes, what| String::from_utf8(bytes.to_vec()).map_err(|_| Malformed(what));
                let input_type = std::str::from_utf8(input_type).ok().and_then(|code| code.parse().ok());
                Ok(FromContainer::Metadata(Metadata {
                    model_name: text(name, "a model's name that is no UTF-8")?,
                    model_version: text(version, "a model's version that is no UTF-8")?,
                    input_type: input_type
                        .and_then(InputType::from_code)
                        .ok_or(Malformed("metadata with an unknown input type"))?,
                }))
            }
            (NEW_CONTAINER, [_, _, _]) => Err(Malformed("metadata without the protocol's version")),
            (CONTENT, [id, header_bytes, header, outputs @ ..]) => {
                check_content(header_bytes, header, 0, outputs)?;
                Ok(FromContainer::Response { id: read_word(id)?, outputs: outputs.to_vec() })
            }
            _ => Err(Malformed("a message of unknown kind")),
        }
    }
}

impl ToContainer {
    pub(crate) fn encode(&self) -> Message {
        let mut message = vec![Bytes::new(), word(RPC_VERSION)];
        match self {
            ToContainer::Heartbeat { wants_metadata } => {
                message.extend([word(HEARTBEAT), word(u32::from(*wants_metadata))]);
            }
            ToContainer::Predict { id, inputs } => {
                message.extend([word(CONTENT), word(*id), word(PREDICT)]);
                push_content(&mut message, &[u64::from(inputs.input_type.code())], &inputs.inputs);
            }
        }
        message
    }

    /// Reads a message. One of another version of the protocol is malformed too.
    pub(crate) fn decode(message: &[Bytes]) -> Result<Self, Malformed> {
        let (version, rest) = split_kind(message)?;
        if version != RPC_VERSION {
            return Err(Malformed("a message of another version of the protocol than 3"));
        }
        let Some((kind, rest)) = rest.split_first() else {
            return Err(Malformed("a message without a kind"));
        };
        match (read_word(kind)?, rest) {
            (HEARTBEAT, [wants]) => Ok(ToContainer::Heartbeat { wants_metadata: read_word(wants)? == 1 }),
            (CONTENT, [id, request, header_bytes, header, inputs @ ..]) => {
                if read_word(request)? != PREDICT {
                    return Err(Malformed("a request that is no prediction"));
                }
                check_content(header_bytes, header, 1, inputs)?;
                let code = header.first_chunk().map(|code| u64::from_le_bytes(*code));
                let input_type = code.and_then(|code| u8::try_from(code).ok()).and_then(InputType::from_code);
                let input_type = input_type.ok_or(Malformed("inputs of an unknown type"))?;
                let inputs = Inputs { input_type, inputs: inputs.to_vec() };
                Ok(ToContainer::Predict { id: read_word(id)?, inputs })
            }
            _ => Err(Malformed("a message of unknown kind")),
        }
    }
}

fn word(value: u32) -> Bytes {
    Bytes::copy_from_slice(&value.to_le_bytes())
}

fn read_word(frame: &Bytes) -> Result<u32, Malformed> {
    let bytes = frame[..].try_into().map_err(|_| Malformed("a number that has not four bytes"))?;
    Ok(u32::from_le_bytes(bytes))
}

/// The first number, and what stands behind it.
fn split_kind(message: &[Bytes]) -> Result<(u32, &[Bytes]), Malformed> {
    match message {
        [empty, kind, rest @ ..] if empty.is_empty() => Ok((read_word(kind)?, rest)),
        _ => Err(Malformed("a message that does not begin with an empty frame and a number")),
    }
}

/// Header and contents of a batch. `before` stands before the count.
fn push_content(message: &mut Message, before: &[u64], contents: &[Bytes]) {
    let lengths = contents.iter().map(|content| content.len() as u64);
    let words = before.iter().copied().chain([contents.len() as u64]).chain(lengths);
    let header: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    message.push(Bytes::copy_from_slice(&(header.len() as u64).to_le_bytes()));
    message.push(header.into());
    message.extend_from_slice(contents);
}

/// Whether a header tells the truth of the frames behind it. `before` words stand before the count.
fn check_content(
    header_bytes: &Bytes,
    header: &Bytes,
    before: usize,
    contents: &[Bytes],
) -> Result<(), Malformed> {
    if header_bytes[..] != (header.len() as u64).to_le_bytes() {
        return Err(Malformed("a header of another length than announced"));
    }
    let (words, []) = header.as_chunks::<8>() else {
        return Err(Malformed("a header that is no list of numbers"));
    };
    let mut counts = words.iter().skip(before).map(|word| u64::from_le_bytes(*word));
    let is_true = counts.next() == Some(contents.len() as u64)
        && counts.eq(contents.iter().map(|content| content.len() as u64));
    is_true.then_some(()).ok_or(Malformed("a header that does not tell the truth of the frames behind it"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Input;

    fn hex(message: &[Bytes]) -> Vec<String> {
        message.iter().map(|frame| frame.iter().map(|byte| format!("{byte:02x}")).collect()).collect()
    }

    #[test]
    fn the_bytes_are_those_that_clipper_sends() {
        let input = Input::Doubles(vec![1.5, -2.0]);
        let inputs = Inputs {
            input_type: InputType::Doubles,
            inputs: vec![Bytes::copy_from_slice(&input.to_bytes())],
        };
        assert_eq!(
            hex(&ToContainer::Predict { id: 42, inputs }.encode()),
            [
                "",
                "03000000",
                "01000000",
                "2a000000",
                "00000000",
                "1800000000000000",
                "030000000000000001000000000000001000000000000000",
                "000000000000f83f00000000000000c0"
            ]
        );
        let outputs = vec![Bytes::from_static(b"1.5")];
        assert_eq!(
            hex(&FromContainer::Response { id: 42, outputs }.encode()),
            ["", "01000000", "2a000000", "1000000000000000", "01000000000000000300000000000000", "312e35"]
        );
        let metadata = Metadata {
            model_name: "m".to_owned(),
            model_version: "1".to_owned(),
            input_type: InputType::Doubles,
        };
        assert_eq!(
            hex(&FromContainer::Metadata(metadata).encode()),
            ["", "00000000", "6d", "31", "33", "03000000"]
        );
        assert_eq!(hex(&FromContainer::Heartbeat.encode()), ["", "02000000"]);
        for (wants_metadata, last) in [(true, "01000000"), (false, "00000000")] {
            let beat = ToContainer::Heartbeat { wants_metadata }.encode();
            assert_eq!(hex(&beat), ["", "03000000", "02000000", last]);
        }
    }

    #[test]
    fn headers_that_lie_and_foreign_versions_are_refused() {
        let good = FromContainer::Response { id: 1, outputs: vec![Bytes::from_static(b"ab")] }.encode();
        assert!(FromContainer::decode(&good).is_ok());
        for (frame, bytes) in [
            (0, &b"x"[..]),
            (1, &[7, 0, 0, 0]),
            (1, &[1, 0, 0]),
            (2, &[]),
            (3, &[17, 0, 0, 0, 0, 0, 0, 0]),
            (4, &[1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]),
            (4, &[2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]),
            (5, b"abc"),
        ] {
            let mut wrong = good.clone();
            wrong[frame] = Bytes::copy_from_slice(bytes);
            assert!(FromContainer::decode(&wrong).is_err(), "{frame}");
        }
        let metadata = Metadata {
            model_name: "m".to_owned(),
            model_version: "1".to_owned(),
            input_type: InputType::Bytes,
        };
        let good = FromContainer::Metadata(metadata).encode();
        for (frame, bytes) in [(4, &b"5"[..]), (4, b"x"), (5, &[2, 0, 0, 0]), (2, &[0xff])] {
            let mut wrong = good.clone();
            wrong[frame] = Bytes::copy_from_slice(bytes);
            assert!(FromContainer::decode(&wrong).is_err(), "{frame}");
        }
        assert!(FromContainer::decode(&good[..5]).unwrap_err().0.contains("without the protocol's version"));
    }

    fn contents() -> impl Strategy<Value = Vec<Bytes>> {
        let content = proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        proptest::collection::vec(content, 0..6)
    }

    proptest! {
        #[test]
        fn messages_are_read_back(id: u32, contents in contents(), code in 0_u8..5, wants_metadata: bool) {
            let input_type = InputType::from_code(code).unwrap();
            let response = FromContainer::Response { id, outputs: contents.clone() };
            prop_assert_eq!(FromContainer::decode(&response.encode()), Ok(response));
            let predict = ToContainer::Predict { id, inputs: Inputs { input_type, inputs: contents } };
            prop_assert_eq!(ToContainer::decode(&predict.encode()), Ok(predict));
            let beat = ToContainer::Heartbeat { wants_metadata };
            prop_assert_eq!(ToContainer::decode(&beat.encode()), Ok(beat));
        }

        #[test]
        fn no_frames_whatever_panic(mut frames in contents(), kind in 0_u32..4, version in 2_u32..4) {
            let _ = (FromContainer::decode(&frames), ToContainer::decode(&frames));
            frames.insert(0, word(kind));
            frames.insert(0, Bytes::new());
            let _ = FromContainer::decode(&frames);
            frames.insert(1, word(version));
            let _ = ToContainer::decode(&frames);
        }
    }
}
