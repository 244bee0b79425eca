//! Answers that go wrong now and then, as a seed says.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Reply, head, lock, reply_and_stay};
use crate::plan::{drawn, mix};

/// What happens to one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HttpFault {
    /// This status instead.
    Status(u16),
    /// It breaks off in the middle.
    Cut,
    /// It breaks off in the middle, and nothing says how long it would have been.
    CutWithoutLength,
    /// An earlier answer comes instead.
    Earlier,
    /// A page without rows comes instead, as [`FaultHttp::around`] was told to write it.
    Empty,
    /// Status 200, and the body is an error in the server's own words.
    ErrorObject,
    /// It comes late.
    Late,
    /// A byte in the middle is one that no UTF-8 text has.
    WrongByte,
    /// The connection ends before a byte of it.
    HangUp,
}

/// All of them.
const HTTP_FAULTS: &[HttpFault] = &[
    HttpFault::Status(500),
    HttpFault::Status(503),
    HttpFault::Status(429),
    HttpFault::Cut,
    HttpFault::CutWithoutLength,
    HttpFault::Earlier,
    HttpFault::Empty,
    HttpFault::ErrorObject,
    HttpFault::Late,
    HttpFault::WrongByte,
    HttpFault::HangUp,
];

/// Whole answers of a server, some of which go wrong. Which ones and how follows from the seed and the
/// number of the request alone.
#[derive(Debug)]
pub struct FaultHttp {
    seed: u64,
    percent: u64,
    empty: String,
    earlier: Mutex<Vec<(String, Vec<u8>)>>,
    hits: AtomicU64,
    /// Of the last answer.
    lied: Mutex<bool>,
}

impl FaultHttp {
    /// Hits `percent` of the requests. `empty` is the body of a page without rows.
    pub fn around(seed: u64, percent: u64, empty: &str) -> Self {
        Self {
            seed,
            percent,
            empty: empty.to_owned(),
            earlier: Mutex::default(),
            hits: AtomicU64::new(0),
            lied: Mutex::default(),
        }
    }

    /// What happens to the answer of request `number`.
    fn fault(&self, number: u64) -> Option<HttpFault> {
        drawn(self.seed, self.percent, number, HTTP_FAULTS)
    }

    /// How many answers went wrong.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// The answer to request `number`: `body` with these further header lines, or what becomes of it.
    ///
    /// A page without rows is a lie that nobody can tell from the truth when it is repeated, so it never
    /// comes twice in a row.
    pub fn answer(&self, number: usize, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut lied = lock(&self.lied);
        let fault = self.fault(number as u64).filter(|fault| *fault != HttpFault::Empty || !*lied);
        *lied = fault == Some(HttpFault::Empty);
        let mut earlier = lock(&self.earlier);
        let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>();
        let good = (lines, body.as_bytes().to_vec());
        let before = (!earlier.is_empty()).then(|| {
            let which = mix(self.seed ^ number as u64) % earlier.len() as u64;
            earlier[usize::try_from(which).unwrap_or(0)].clone()
        });
        if !earlier.contains(&good) {
            earlier.push(good.clone());
        }
        let Some(fault) = fault else { return whole(&good) };
        self.hits.fetch_add(1, Ordering::Relaxed);
        let half = good.1.len() / 2;
        match fault {
            HttpFault::Status(status) => reply_and_stay(status, &[], "a fault"),
            HttpFault::Cut => {
                let length = good.1.len().to_string();
                let mut bytes = head(200, &[("Content-Length", &length)]).into_bytes();
                bytes.extend(&good.1[..half]);
                Reply::bytes(bytes)
            }
            HttpFault::CutWithoutLength => {
                Reply::bytes([head(200, &[]).as_bytes(), &good.1[..half]].concat())
            }
            HttpFault::Earlier => whole(before.as_ref().unwrap_or(&good)),
            HttpFault::Empty => whole(&(String::new(), self.empty.clone().into_bytes())),
            HttpFault::ErrorObject => {
                whole(&(String::new(), br#"{"error": {"code": 13, "message": "try again"}}"#.to_vec()))
            }
            HttpFault::Late => whole(&good).late(Duration::from_millis(20)),
            HttpFault::WrongByte => {
                let mut wrong = good;
                if let Some(byte) = wrong.1.get_mut(half) {
                    *byte = 0xFF;
                }
                whole(&wrong)
            }
            HttpFault::HangUp => Reply::hang_up(),
        }
    }
}

fn whole((lines, body): &(String, Vec<u8>)) -> Reply {
    let headers: Vec<(&str, &str)> = lines.lines().filter_map(|line| line.split_once(": ")).collect();
    reply_and_stay(200, &headers, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_everything_and_every_fault_comes() {
        let faults = |seed| {
            let plan = FaultHttp::around(seed, 20, "[]");
            (0..5000).map(|n| plan.fault(n)).collect::<Vec<_>>()
        };
        assert_eq!(faults(7), faults(7));
        assert_ne!(faults(7), faults(8));
        let hits = faults(7).iter().flatten().count();
        assert!((800..1200).contains(&hits), "{hits} of 5000");
        for fault in HTTP_FAULTS {
            assert!(faults(7).contains(&Some(*fault)), "{fault:?} never comes");
        }
    }
}
