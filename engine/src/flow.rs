//! When to pause producers and when to let them go on: two thresholds, so that it does not flutter.

/// Pauses at `pause` waiting steps, resumes at `resume`. A pure value; the dispatcher feeds it depths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    pause: usize,
    resume: usize,
    paused: bool,
}

impl Flow {
    /// `resume` below `pause`, both at least 1.
    pub fn new(pause: usize, resume: usize) -> Self {
        let pause = pause.max(1);
        Self { pause, resume: resume.min(pause - 1), paused: false }
    }

    /// Takes the current depth; true while producers are to wait.
    pub fn observe(&mut self, depth: usize) -> bool {
        self.paused = if self.paused { depth > self.resume } else { depth >= self.pause };
        self.paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_pause_high_and_resume_low() {
        let mut flow = Flow::new(8, 5);
        let depths = [7, 8, 7, 6, 5, 7, 8];
        assert_eq!(depths.map(|depth| flow.observe(depth)), [false, true, true, true, false, false, true]);
    }
}
