//! Whether a predictor keeps the contract of its trait.

mod drive;
mod rules;

use std::fmt;

use bytes::Bytes;

use self::rules::Case;
use crate::Predictor;

/// Declares the rules with their names and what each of them says.
macro_rules! rules {
    ($($name:ident: $says:literal,)*) => {
        /// A rule of the contract of [`Predictor`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = $says] $name,)*
        }

        impl Rule {
            /// Every one.
            pub const ALL: &'static [Rule] = &[$(Rule::$name,)*];

            /// What it says.
            pub fn says(self) -> &'static str {
                match self {
                    $(Rule::$name => $says,)*
                }
            }
        }
    };
}

rules! {
    OneOutcomeForEachCall: "`predict` gives one outcome for each call, and never `Quarantined`, which Boat gives",
    OutcomesInOrder: "outcomes stand in the order of their calls: a batch gives what its calls give one by one",
    BatchesDoNotMatter: "how requests are cut into batches changes no outcome",
    NothingElseMatters: "outcomes are a function of the requests, their times and seeds, and of nothing else",
    ResetIsFresh: "`reset` leaves a model that has seen no request",
    RefusalsAreOutcomes: "a request that the model refuses is `Rejected`, everywhere in the same words",
    FrozenStateStands: "a frozen state stays as it was while its predictor goes on, which does as if it had not been frozen",
    RestoreGoesOn: "after `restore` everything goes on as if it were the predictor that was frozen",
    StatelessForgets: "a `Stateless` predictor has an empty state, and its outcomes do not depend on earlier requests",
    QueriesChangeNothing: "`query` changes nothing that a later outcome could show, also when its future is dropped half way",
    LostStateIsRebuilt: "a request that breaks the model is `StateLost`; after a `reset` a replay gives what it gave before",
    SpareIsFresh: "`spare` gives a predictor like this one that has seen no request",
}

/// A rule that a predictor does not keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which one.
    pub rule: Rule,
    /// In which way.
    pub how: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the contract of `Predictor` says that {}; but {}", self.rule.says(), self.how)
    }
}

impl std::error::Error for Broken {}

/// Checks predictors of one kind against the contract of [`Predictor`], rule by rule.
///
/// Requests should differ, and should show in each other's outcomes if the model learns: what shows nowhere cannot be checked.
/// [`PredictorError::Unavailable`](crate::PredictorError::Unavailable) is met by trying again for a while, as Boat does.
///
/// ```
/// use boat_core::testing::{Contract, Rule};
/// use boat_core::{Context, Model, ModelPredictor};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Sum(i64);
///
/// impl Model for Sum {
///     type Request = i64;
///     type Response = i64;
///     fn predict(&mut self, _: &Context, x: i64) -> i64 {
///         self.0 += x;
///         self.0
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let contract = Contract::new((1..9).map(|x| x.to_string())).refused(["\"a word\""]);
/// let rules = contract.check(async || ModelPredictor::new(Sum::default()).expect("serde writes it")).await?;
/// assert!(rules.contains(&Rule::RestoreGoesOn));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Contract {
    requests: Vec<Bytes>,
    refused: Vec<Bytes>,
    breaking: Option<Bytes>,
}

impl Contract {
    /// A check with these requests, which the model answers. A dozen do.
    pub fn new(requests: impl IntoIterator<Item = impl Into<Bytes>>) -> Self {
        let requests = requests.into_iter().map(Into::into).collect();
        Contract { requests, refused: Vec::new(), breaking: None }
    }

    /// Requests that the model refuses.
    #[must_use]
    pub fn refused(self, requests: impl IntoIterator<Item = impl Into<Bytes>>) -> Self {
        Contract { refused: requests.into_iter().map(Into::into).collect(), ..self }
    }

    /// A request that the model does not survive.
    #[must_use]
    pub fn breaking(self, request: impl Into<Bytes>) -> Self {
        Contract { breaking: Some(request.into()), ..self }
    }

    /// Checks the predictors that `make` makes, which must be alike. The rules that were checked: those about refusals and lost
    /// state only with requests of that kind, those about snapshots, stateless predictors, queries and spares where there are
    /// such.
    ///
    /// # Errors
    /// The first rule that is [`Broken`].
    pub async fn check<P: Predictor>(&self, make: impl AsyncFn() -> P) -> Result<Vec<Rule>, Broken> {
        let case = Case::begin(self, &make).await?;
        let mut checked = vec![Rule::OneOutcomeForEachCall, Rule::OutcomesInOrder];
        case.batches_do_not_matter().await?;
        case.nothing_else_matters().await?;
        case.reset_is_fresh().await?;
        checked.extend([Rule::BatchesDoNotMatter, Rule::NothingElseMatters, Rule::ResetIsFresh]);
        let more = [
            (Rule::RefusalsAreOutcomes, case.refusals_are_outcomes().await?),
            (Rule::RestoreGoesOn, case.restore_goes_on().await?),
            (Rule::FrozenStateStands, case.frozen_state_stands().await?),
            (Rule::StatelessForgets, case.stateless_forgets().await?),
            (Rule::QueriesChangeNothing, case.queries_change_nothing().await?),
            (Rule::LostStateIsRebuilt, case.lost_state_is_rebuilt().await?),
            (Rule::SpareIsFresh, case.spare_is_fresh().await?),
        ];
        checked.extend(more.into_iter().filter_map(|(rule, was)| was.then_some(rule)));
        Ok(checked)
    }
}
