//! A user's model in the place of the simulator's own.

use std::fmt;

use bytes::Bytes;

use super::state::Value;
use crate::sim::{Models, Served};
use crate::{Call, CallOutcome, Model, ModelPredictor};

/// Makes a user's models and requests.
pub(super) struct UserModels<M: Model> {
    pub(super) model: Box<dyn Fn() -> M>,
    pub(super) request: Box<dyn Fn(u64) -> M::Request>,
}

impl<M: Model> fmt::Debug for UserModels<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserModels").finish_non_exhaustive()
    }
}

impl<M: Model> Models for UserModels<M> {
    fn fresh(&self) -> Box<dyn Served> {
        let model = ModelPredictor::new((self.model)());
        Box::new(UserModel(model.map_err(|error| error.to_string())))
    }

    fn restored(&self, bytes: &[u8]) -> Result<Box<dyn Served>, String> {
        let mut model = ModelPredictor::new((self.model)()).map_err(|error| error.to_string())?;
        model.take(bytes).map_err(|error| error.to_string())?;
        Ok(Box::new(UserModel(Ok(model))))
    }

    fn body(&self, number: u64) -> Bytes {
        // A request that is no JSON is no request: its clients could not send it either.
        serde_json::to_vec(&(self.request)(number)).unwrap_or_default().into()
    }
}

/// One node's copy, or why there is none.
struct UserModel<M: Model>(Result<ModelPredictor<M>, String>);

impl<M: Model> UserModel<M> {
    fn value(&self) -> Result<Value, String> {
        Value::read(&self.to_bytes())
    }
}

impl<M: Model> fmt::Debug for UserModel<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value() {
            Ok(value) => write!(f, "{value}"),
            Err(why) => f.write_str(&why),
        }
    }
}

impl<M: Model> Served for UserModel<M> {
    fn predict(&mut self, call: &Call) -> Result<CallOutcome, String> {
        let model = self.0.as_mut().map_err(|why| why.clone())?;
        model.call(call).map_err(|error| error.to_string())
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.0.as_ref().ok().and_then(|model| model.written().ok()).unwrap_or_default()
    }

    fn state(&self) -> Bytes {
        let print = self.value().map_or(0, |value| value.print());
        Bytes::copy_from_slice(&print.to_le_bytes())
    }

    /// Not used: only Boat's own runs have models that go another way.
    fn taint(&mut self) {}
}
