//! Moments of a run at which a test ends or stops the process, to see that nothing is lost by it.
//!
//! They act only in builds with debug assertions (so never in a release), and only when
//! `LAGAR_KILL_POINT` asks for it: `NAME[:ACTION[:PASS]]`, several with commas. `PASS` says which time
//! the point must be passed, the first by default. A cargo feature would switch them off as well, but
//! then the whole tree would be compiled twice, once with it and once without.
//!
//! The tests walk [`KillPoint::ALL`]: a point that is added here is covered, or fails them.

macro_rules! points {
    ($($point:ident = $name:literal, $when:literal;)*) => {
        /// A moment of a run.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum KillPoint { $(#[doc = $when] $point),* }

        impl KillPoint {
            pub const ALL: &[KillPoint] = &[$(KillPoint::$point),*];

            /// As `LAGAR_KILL_POINT` names it.
            pub fn name(self) -> &'static str {
                match self { $(KillPoint::$point => $name),* }
            }
        }
    };
}

points! {
    HistoryBegun = "history-begun", "The history knows that the run began; nothing was done yet.";
    LoadFilesPut = "load-files-put", "The files of a load are in the lake, its manifest is not.";
    QuarantinePut = "quarantine-put", "The rejected rows of a load are in the lake, its manifest is not.";
    LoadCommitted = "load-committed", "A load's manifest is in the lake.";
    ModelStaged = "model-staged", "The files of a table's version are in the lake, and are not checked.";
    ModelChecked = "model-checked", "The files of a version are checked, and named by no entry of the log.";
    CheckpointDue = "checkpoint-due", "The log's entry is in the lake, the checkpoint for it is not.";
    CheckpointMade = "checkpoint-made", "The checkpoint is in the lake too.";
    TableCommitted = "table-committed", "A version of a table is in the lake.";
    PredictorStored = "predictor-stored", "A version of a predictor is in the lake; nothing is released.";
    HistoryStep = "history-step", "The history knows how a step ended.";
    StepsTableCommitted = "steps-table-committed", "The steps of the run are in `steps_table`; nothing is released.";
    ReleaseDue = "release-due", "All steps went well; nothing is released.";
    ReleasePut = "release-put", "The release is in the lake; the history does not know.";
    HistoryEnded = "history-ended", "The history knows how the run ended.";
    LocalWritten = "local-written", "A file has its bytes and no name; nothing is on the disk for sure.";
    LocalSynced = "local-synced", "The bytes of a file are on the disk, it has no name.";
    LocalNamed = "local-named", "A file has its name, which a power cut may take away.";
    LocalDone = "local-done", "A file and its name are on the disk.";
}

/// Passes `point`: does nothing, unless this is a build for tests and one asked for it.
#[inline]
pub fn at(point: KillPoint) {
    #[cfg(debug_assertions)]
    plan::passed(point);
    #[cfg(not(debug_assertions))]
    let _ = point;
}

#[cfg(debug_assertions)]
mod plan {
    use std::{
        process::Command,
        sync::{
            OnceLock,
            atomic::{AtomicU32, Ordering},
        },
        thread,
        time::Duration,
    };

    use super::KillPoint;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Action {
        /// Ends the process as a defect would.
        Abort,
        /// Ends it as the kernel does when memory is short.
        Kill,
        /// Stops it until somebody sends SIGCONT.
        Stop,
        /// Waits half a second, as for a slow disk.
        Pause,
        /// Waits for ever, as for a disk that is gone.
        Hang,
        /// Ends the step as a defect would, with a message that tells all it can: the environment.
        Panic,
        /// Only says that the point was passed, each time.
        Note,
    }

    #[derive(Debug)]
    pub(super) struct Armed {
        pub point: KillPoint,
        pub action: Action,
        pub pass: u32,
        passes: AtomicU32,
    }

    /// What `LAGAR_KILL_POINT` says; the word that makes no sense if one does not.
    pub(super) fn parse(text: &str) -> Result<Vec<Armed>, &str> {
        text.split(',').filter(|part| !part.is_empty()).map(|part| one(part).ok_or(part)).collect()
    }

    fn one(text: &str) -> Option<Armed> {
        let mut words = text.split(':');
        let name = words.next()?;
        let point = KillPoint::ALL.iter().find(|point| point.name() == name)?;
        let action = match words.next().unwrap_or("kill") {
            "abort" => Action::Abort,
            "kill" => Action::Kill,
            "stop" => Action::Stop,
            "pause" => Action::Pause,
            "hang" => Action::Hang,
            "panic" => Action::Panic,
            "note" => Action::Note,
            _ => return None,
        };
        let pass = words.next().map_or(Some(1), |pass| pass.parse().ok().filter(|pass| *pass > 0))?;
        words.next().is_none().then(|| Armed { point: *point, action, pass, passes: AtomicU32::new(0) })
    }

    pub(super) fn passed(point: KillPoint) {
        static PLAN: OnceLock<Vec<Armed>> = OnceLock::new();
        let plan = PLAN.get_or_init(|| {
            let text = std::env::var("LAGAR_KILL_POINT").unwrap_or_default();
            parse(&text).unwrap_or_else(|word| {
                // A test whose point does not exist must not pass.
                eprintln!("LAGAR_KILL_POINT: `{word}` makes no sense");
                std::process::abort()
            })
        });
        for armed in plan.iter().filter(|armed| armed.point == point) {
            let pass = armed.passes.fetch_add(1, Ordering::Relaxed) + 1;
            if armed.action == Action::Note || pass == armed.pass {
                eprintln!("kill point {} passed {pass}", point.name());
                act(armed.action);
            }
        }
    }

    fn act(action: Action) {
        match action {
            Action::Abort => std::process::abort(),
            Action::Kill => signal("KILL"),
            Action::Stop => signal("STOP"),
            Action::Pause => thread::sleep(Duration::from_millis(500)),
            Action::Hang => loop {
                thread::park();
            },
            Action::Panic => {
                let environment: Vec<_> = std::env::vars_os().collect();
                std::panic::panic_any(format!("asked to panic in {environment:?}"))
            }
            Action::Note => {}
        }
    }

    /// The shell sends it: the system's call would be `unsafe` here. It ends a little later: on a busy machine the
    /// thread that waits for it would else go on before the kernel stops them all.
    fn signal(name: &str) {
        let send = format!("kill -s {name} {} && sleep 0.2", std::process::id());
        let sent = Command::new("sh").arg("-c").arg(send).status();
        if !sent.is_ok_and(|status| status.success()) {
            eprintln!("LAGAR_KILL_POINT: no signal could be sent");
            std::process::abort();
        }
    }
}

#[cfg(all(test, debug_assertions))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{KillPoint, plan::Action, plan::parse};

    #[test]
    fn a_plan_names_points_actions_and_passes() {
        let plan = parse("release-put,local-named:stop:3,load-committed:note").unwrap();
        let said: Vec<_> = plan.iter().map(|armed| (armed.point, armed.action, armed.pass)).collect();
        assert_eq!(
            said,
            [
                (KillPoint::ReleasePut, Action::Kill, 1),
                (KillPoint::LocalNamed, Action::Stop, 3),
                (KillPoint::LoadCommitted, Action::Note, 1),
            ]
        );
        assert!(parse("").unwrap().is_empty());
        for wrong in ["release", "release-put:explode", "release-put:kill:0", "release-put:kill:1:1"] {
            assert_eq!(parse(wrong).unwrap_err(), wrong);
        }
    }

    #[test]
    fn names_are_told_apart() {
        let names: std::collections::BTreeSet<_> = KillPoint::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), KillPoint::ALL.len());
    }
}
