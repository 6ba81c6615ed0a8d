//! How large a run is.

/// How large a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// The smallest that runs all the code (`cargo bench -- --test`): seconds. Its figures mean nothing.
    Test,
    /// Large enough to mean something, small enough for every day: minutes.
    Plain,
    /// What the goals are about (`BOAT_BENCH=full`).
    Full,
}

impl Size {
    /// What the command line and the environment of this process ask for.
    pub fn asked_for() -> Size {
        if std::env::args().any(|argument| argument == "--test") {
            Size::Test
        } else if std::env::var_os("BOAT_BENCH").is_some_and(|value| value == "full") {
            Size::Full
        } else {
            Size::Plain
        }
    }

    /// One of three values.
    pub fn pick<T>(self, test: T, plain: T, full: T) -> T {
        match self {
            Size::Test => test,
            Size::Plain => plain,
            Size::Full => full,
        }
    }
}
