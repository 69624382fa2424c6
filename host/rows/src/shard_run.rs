//! Which shards rows come from.

/// Consecutive rows of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRun {
    /// Index of the shard in the class's shards, in byte order of their names.
    pub shard: u32,
    /// Number of rows.
    pub rows: u64,
    /// Id of the first row.
    pub first_id: [u8; 16],
    /// Id of the last row.
    pub last_id: [u8; 16],
}

impl ShardRun {
    /// Appends `next` to `runs`: joins it with the last run if that is of the same shard.
    pub fn append(runs: &mut Vec<ShardRun>, next: ShardRun) {
        match runs.last_mut() {
            Some(last) if last.shard == next.shard => last.join(&next),
            _ => runs.push(next),
        }
    }

    /// Adds the rows of `next`, which follow these in the same shard.
    pub fn join(&mut self, next: &ShardRun) {
        self.rows = self.rows.saturating_add(next.rows);
        self.last_id = next.last_id;
    }
}

#[cfg(test)]
mod tests {
    use super::ShardRun;

    fn run(shard: u32, rows: u64, first: u8, last: u8) -> ShardRun {
        ShardRun { shard, rows, first_id: [first; 16], last_id: [last; 16] }
    }

    #[test]
    fn only_consecutive_runs_of_a_shard_are_joined() {
        let mut runs = Vec::new();
        for next in [run(0, 2, 1, 2), run(0, 1, 3, 3), run(1, 1, 0, 0), run(0, 1, 4, 4)] {
            ShardRun::append(&mut runs, next);
        }
        assert_eq!(runs, [run(0, 3, 1, 3), run(1, 1, 0, 0), run(0, 1, 4, 4)]);
    }
}
