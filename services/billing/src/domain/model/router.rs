/// A lease as its router holds it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub lease: usize,
    pub customer: usize,
    /// What is left of it.
    pub left: i64,
    pub calls: i64,
    pub sum: i64,
}

/// A router in its present life.
pub(super) struct Router {
    pub epoch: usize,
    pub held: Vec<Held>,
    /// Calls that run.
    pub running: Vec<usize>,
}

/// A call as the engine served it: the oracle of what is to be billed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    pub customer: usize,
    pub lease: usize,
    pub cost: i64,
}

/// A line of the routers' journal, which outlives them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Journaled {
    pub call: usize,
    pub epoch: usize,
    pub ended: bool,
}

impl Router {
    pub(super) fn new(epoch: usize) -> Self {
        Self {
            epoch,
            held: Vec::new(),
            running: Vec::new(),
        }
    }
}
