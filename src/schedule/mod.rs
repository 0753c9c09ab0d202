//! Which samples a query asks for and when it is scheduled, exactly as LoadGen draws them.
//!
//! Takes rules (numbers) from `plan`, gives positions and times. Knows no thread,
//! no clock and no file; everything here is a pure function of its seeds.

pub mod arrivals;
pub mod rng;
pub mod samples;
