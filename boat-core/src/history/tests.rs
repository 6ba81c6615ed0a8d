//! The check is itself checked: on small histories by looking through all orders for one that explains everything.

use proptest::prelude::*;

use super::*;

/// How many operations and reads a history has that is looked through.
const STEPS_MAX: usize = 6;

#[derive(Debug, Clone, PartialEq)]
enum End {
    Answered { position: u64, outcome: u8 },
    Refused,
    Unknown,
    Read { position: u64 },
}

/// An operation or a read.
#[derive(Debug, Clone)]
struct Step {
    from_us: u64,
    to_us: u64,
    end: End,
}

#[derive(Debug, Clone)]
struct Case {
    steps: Vec<Step>,
    /// What each of two nodes holds: steps by number, from position 1 on, each with its outcome.
    nodes: [Vec<(usize, u8)>; 2],
}

impl Case {
    fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for (number, Step { from_us, to_us, end }) in self.steps.iter().enumerate() {
            let operation = number.to_string();
            if let End::Read { position } = end {
                let (from_us, to_us, position) = (*from_us, *to_us, *position);
                records.push(Record::Read { from_us, to_us, position, linearizable: true });
                continue;
            }
            records.push(Record::Sent { at_us: *from_us, operation: operation.clone() });
            match end {
                End::Answered { position, outcome } => records.push(Record::Answered {
                    at_us: *to_us,
                    operation,
                    position: *position,
                    outcome: outcome.to_string(),
                }),
                End::Refused => records.push(Record::Failed { at_us: *to_us, operation, definite: true }),
                _ => records.push(Record::Failed { at_us: *to_us, operation, definite: false }),
            }
        }
        for (node, held) in (0..).zip(&self.nodes) {
            for (position, (number, outcome)) in (1..).zip(held) {
                let (operation, outcome) = (Some(number.to_string()), Some(outcome.to_string()));
                records.push(Record::Applied { node, position, operation, outcome, digest: None });
            }
            let position = held.len() as u64;
            records.push(Record::Ended { node, position, digest: format!("{held:?}") });
        }
        records
    }

    /// Whether one order of some of the steps explains everything.
    fn is_explained(&self) -> bool {
        let mut order = Vec::new();
        self.extends(&mut order)
    }

    fn extends(&self, order: &mut Vec<usize>) -> bool {
        if self.explains(order) {
            return true;
        }
        for next in 0..self.steps.len() {
            if !order.contains(&next) {
                order.push(next);
                if self.extends(order) {
                    return true;
                }
                order.pop();
            }
        }
        false
    }

    /// Whether the steps, done one after the other in this order and no others done, give what everybody was told.
    fn explains(&self, order: &[usize]) -> bool {
        let mut applied = Vec::new();
        for (place, number) in order.iter().enumerate() {
            let step = &self.steps[*number];
            if order[place + 1..].iter().any(|later| self.steps[*later].ends_before(step)) {
                return false;
            }
            match &step.end {
                End::Read { position } if *position != applied.len() as u64 => return false,
                End::Read { .. } => {}
                End::Refused => return false,
                End::Unknown => applied.push(*number),
                End::Answered { position, outcome } => {
                    applied.push(*number);
                    let held = self.nodes[0].get(applied.len() - 1);
                    if *position != applied.len() as u64 || held != Some(&(*number, *outcome)) {
                        return false;
                    }
                }
            }
        }
        let must_be_there = |step: &Step| matches!(step.end, End::Answered { .. } | End::Read { .. });
        let numbers = 0..self.steps.len();
        let mut complete = numbers.filter(|number| must_be_there(&self.steps[*number]));
        let alike = self.nodes.iter().all(|held| held.iter().map(|(number, _)| number).eq(&applied));
        complete.all(|number| order.contains(&number)) && alike && self.nodes[0] == self.nodes[1]
    }
}

impl Step {
    /// Whether its end was known before the other began. Of an unknown fate nobody hears.
    fn ends_before(&self, other: &Step) -> bool {
        self.end != End::Unknown && self.to_us < other.from_us
    }
}

/// A history that really happened: steps take effect at moments between their begin and their end.
fn sound() -> impl Strategy<Value = Case> {
    let step = (0..8_u64, 0..4_u64, 0..4_u64, 0..4_u8);
    prop::collection::vec(step, 1..=STEPS_MAX).prop_map(|drawn| {
        let mut moments: Vec<(u64, usize)> =
            drawn.iter().enumerate().map(|(number, step)| (step.0 + step.1, number)).collect();
        moments.sort_unstable();
        let mut steps: Vec<Step> = drawn
            .iter()
            .map(|(from_us, before_us, after_us, _)| Step {
                from_us: *from_us,
                to_us: from_us + before_us + after_us,
                end: End::Unknown,
            })
            .collect();
        let mut held = Vec::new();
        for (_, number) in moments {
            let position = held.len() as u64 + 1;
            let outcome = number as u8;
            match drawn[number].3 {
                0 => steps[number].end = End::Read { position: position - 1 },
                1 if number % 2 == 0 => steps[number].end = End::Refused,
                1 => {}
                kind => {
                    held.push((number, outcome));
                    if kind == 3 {
                        steps[number].end = End::Answered { position, outcome };
                    }
                }
            }
        }
        Case { steps, nodes: [held.clone(), held] }
    })
}

/// A change to a history that may break it: what, where, and to what.
fn change(case: &mut Case, (what, place, to): (u8, usize, u64)) {
    let count = case.steps.len();
    let step = &mut case.steps[place % count];
    match (what, &mut step.end) {
        (0, End::Answered { position, .. } | End::Read { position }) => *position = to % 7,
        (1, End::Answered { outcome, .. }) => *outcome = to as u8,
        (2, end) if !matches!(end, End::Read { .. }) => *end = End::Refused,
        (3, _) => {
            step.from_us += to;
            step.to_us += to;
        }
        (4, _) => {
            step.from_us = step.from_us.saturating_sub(to);
            step.to_us = step.to_us.saturating_sub(to).max(step.from_us);
        }
        (5, _) => step.to_us = step.from_us,
        (6, _) => {
            let held = &mut case.nodes[to as usize % 2];
            if held.len() > 1 {
                let last = held.len() - 1;
                held.swap(place % last, last);
            }
        }
        (7, _) => case.nodes.iter_mut().for_each(|held| held.truncate(held.len().saturating_sub(1))),
        (8, _) if count > 1 => {
            let held = case.nodes[0].len();
            if held > 1 {
                case.nodes.iter_mut().for_each(|nodes| nodes.swap(place % held, to as usize % held));
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_really_happened_is_sound(case in sound()) {
        prop_assert!(case.is_explained());
        prop_assert!(check(&case.records()).is_ok(), "{:?}", check(&case.records()));
    }

    #[test]
    fn the_check_says_what_looking_through_all_orders_says(
        mut case in sound(),
        changes in prop::collection::vec((0..9_u8, 0..STEPS_MAX, 0..8_u64), 1..=3),
    ) {
        for drawn in changes {
            change(&mut case, drawn);
        }
        let said = check(&case.records());
        prop_assert_eq!(said.is_ok(), case.is_explained(), "{:?}", said);
    }

    #[test]
    fn a_record_is_read_as_it_was_written(at_us: u64, operation: String, position: u64, outcome: String, flag: bool) {
        let records = [
            Record::Sent { at_us, operation: operation.clone() },
            Record::Answered { at_us, operation: operation.clone(), position, outcome: outcome.clone() },
            Record::Failed { at_us, operation: operation.clone(), definite: flag },
            Record::Read { from_us: at_us, to_us: at_us, position, linearizable: flag },
            Record::Applied {
                node: 1,
                position,
                operation: flag.then_some(operation),
                outcome: (!flag).then_some(outcome.clone()),
                digest: None,
            },
            Record::Ended { node: 2, position, digest: outcome },
        ];
        let text: String = records.iter().map(|record| record.to_line() + "\n").collect();
        prop_assert_eq!(read(text.as_bytes()).unwrap(), records);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        let _ = read(bytes.as_slice());
    }
}

#[test]
fn each_promise_can_be_broken() {
    let history = |lines: &str| read(lines.replace('\'', "\"").as_bytes()).unwrap();
    let sent = |at_us: u64, name: &str| format!("{{'record':'sent','at_us':{at_us},'operation':'{name}'}}\n");
    let answered = |at_us: u64, name: &str, position: u64, outcome: &str| {
        format!(
            "{{'record':'answered','at_us':{at_us},'operation':'{name}','position':{position},'outcome':'{outcome}'}}\n"
        )
    };
    let applied = |node: u16, position: u64, name: &str| {
        format!("{{'record':'applied','node':{node},'position':{position},'operation':'{name}'}}\n")
    };
    let ended = |node: u16, position: u64, digest: &str| {
        format!("{{'record':'ended','node':{node},'position':{position},'digest':'{digest}'}}\n")
    };
    let failed = |at_us: u64, name: &str, definite: bool| {
        format!("{{'record':'failed','at_us':{at_us},'operation':'{name}','definite':{definite}}}\n")
    };
    let asked = sent(1, "a") + &sent(1, "b");
    let read = "{'record':'read','from_us':6,'to_us':7,'position':0,'linearizable':true}\n";
    let stale = read.replace("true", "false");
    let one = sent(1, "a") + &answered(5, "a", 1, "x");
    for (broken, lines) in [
        (Some("S1"), asked.clone() + &applied(0, 1, "a") + &applied(1, 1, "b") + &applied(1, 2, "a")),
        (Some("S2"), one.clone() + &answered(6, "a", 1, "y")),
        (Some("S2"), one.clone() + &ended(0, 0, "d")),
        (Some("S3"), one.clone() + &answered(6, "a", 2, "x")),
        (Some("S4"), sent(9, "b") + &sent(1, "a") + &answered(5, "a", 2, "x") + &answered(9, "b", 1, "y")),
        (None, sent(5, "b") + &sent(1, "a") + &answered(5, "a", 2, "x") + &answered(9, "b", 1, "y")),
        (Some("S5"), one.clone() + &applied(0, 2, "b") + &sent(1, "b")),
        (Some("S6"), one.clone() + read),
        (None, one.clone() + &stale),
        (Some("S7"), sent(1, "a") + &failed(2, "a", true) + &applied(0, 1, "a")),
        (None, sent(1, "a") + &failed(2, "a", false) + &applied(0, 1, "a")),
        (Some("S8"), answered(5, "a", 1, "x")),
        (Some("L2"), one.clone() + &ended(0, 1, "d") + &ended(1, 1, "e")),
    ] {
        let said = check(&history(&lines)).map_err(|found| found[0].promise);
        assert_eq!(said.err(), broken, "{lines}");
    }
    let summary = check(&history(&(one + &sent(6, "b") + &failed(7, "b", true) + &sent(8, "c")))).unwrap();
    let expected =
        Summary { operations: 3, answered: 1, definitely_not: 1, unknown: 1, position: 1, ..summary };
    assert_eq!(summary, expected);
}

#[test]
fn a_line_that_is_no_record_is_named() {
    let text = "\n{\"record\":\"sent\",\"at_us\":1,\"operation\":\"a\"}\nnonsense\n";
    let error = read(text.as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("line 3 is no record"), "{error}");
    let unknown = br#"{"record":"sent","at_us":1,"operation":"a","more":1}"#;
    assert!(read(unknown.as_slice()).is_err());
    let long = vec![b' '; LINE_BYTES_MAX as usize + 1];
    assert!(matches!(read(long.as_slice()), Err(HistoryError::TooLong { line: 1 })));
}

#[test]
fn a_long_history_is_checked_in_a_moment() {
    let records = (1..=200_000_u64).flat_map(|position| {
        let operation = position.to_string();
        [
            Record::Sent { at_us: 2 * position, operation: operation.clone() },
            Record::Answered { at_us: 2 * position + 1, operation, position, outcome: "x".to_owned() },
        ]
    });
    let summary = check(&records.collect::<Vec<_>>()).unwrap();
    assert_eq!((summary.answered, summary.position), (200_000, 200_000));
}
