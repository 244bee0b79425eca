//! Work that is cut into pieces, whose results come back in the order of the pieces: what is made of them does
//! not depend on how many threads there were.

use std::thread;

use lagar_flow::{Error, Result};

/// `work(0)`, `work(1)` … `work(count - 1)`, by at most `threads` threads.
///
/// # Errors
/// A defect: a piece panicked.
pub(crate) fn in_order<T: Send>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> T + Sync,
) -> Result<Vec<T>> {
    let threads = threads.clamp(1, count.max(1));
    if threads == 1 {
        return Ok((0..count).map(work).collect());
    }
    let work = &work;
    // Every so many-th piece: pieces that grow are shared out evenly.
    let mut shares = thread::scope(|scope| {
        let shares: Vec<_> = (0..threads)
            .map(|first| scope.spawn(move || (first..count).step_by(threads).map(work).collect::<Vec<T>>()))
            .collect();
        let joined = shares.into_iter().map(|share| share.join().map(Vec::into_iter));
        joined.collect::<std::thread::Result<Vec<_>>>()
    })
    .map_err(|_| Error::bug("a piece of the work panicked"))?;
    Ok((0..count).filter_map(|piece| shares[piece % threads].next()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_pieces() {
        for threads in [0, 1, 2, 3, 8, 100] {
            for count in [0, 1, 7, 64] {
                let expected: Vec<usize> = (0..count).map(|piece| piece * piece).collect();
                assert_eq!(in_order(threads, count, |piece| piece * piece).unwrap(), expected);
            }
        }
    }
}
