//! Independent work on several threads.

use std::{num::NonZeroUsize, sync::Mutex, thread};

/// As many threads as there are processors.
#[must_use]
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Does work on so many threads. What comes of it is in the order of the work, whoever did it; of several errors the
/// first one of that order is told.
///
/// # Errors
///
/// Those of the work.
///
/// # Panics
///
/// If a piece of the work does: none is left out in silence.
pub fn in_parallel<T: Send, R: Send, E: Send>(
    threads: usize,
    work: Vec<T>,
    act: impl Fn(T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let done: Mutex<Vec<Option<Result<R, E>>>> = Mutex::new(work.iter().map(|_| None).collect());
    let open = Mutex::new(work.into_iter().enumerate());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = open.lock().map_or(None, |mut open| open.next());
                    let Some((place, piece)) = next else { break };
                    let result = act(piece);
                    if let Ok(mut done) = done.lock() {
                        done[place] = Some(result);
                    }
                }
            });
        }
    });
    done.into_inner().unwrap_or_default().into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r3_what_comes_of_work_is_in_its_order() {
        let halves = |threads| in_parallel(threads, (0..100).collect(), |n: u32| Ok::<_, u32>(n / 2));
        assert!(
            halves(1) == halves(7) && halves(3).is_ok_and(|halves| halves.is_sorted() && halves.len() == 100)
        );
        let odd = in_parallel(4, (0..100).collect(), |n: u32| if n % 10 == 7 { Err(n) } else { Ok(n) });
        assert_eq!(odd, Err(7));
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_piece_that_panics_is_not_left_out() {
        let _ = in_parallel(2, vec![1, 2], |n: u32| if n == 2 { panic!("two") } else { Ok::<_, ()>(n) });
    }
}
