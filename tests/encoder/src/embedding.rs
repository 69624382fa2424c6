//! Vectors: random ones, or ones with the statistics of text embeddings.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use crate::recipe::normal;

/// How many directions explain most of an embedding. Models of 384 to 1,536 dimensions keep most of their
/// variance in far fewer.
const RANK: usize = 48;
/// Length of the common part of all vectors of a model: embeddings lie in a narrow cone, with a cosine of
/// 0.2 to 0.7 between texts that have nothing in common.
const MEAN: f32 = 0.6;
/// Length of what the directions do not explain.
const NOISE: f32 = 0.25;

/// Where the components of vectors come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embeddings {
    /// Independent normal numbers: the worst case of compression and of nothing else.
    Normal,
    /// Unit vectors in a narrow cone, of low rank, some directions much stronger than others, as models of
    /// text give them in single precision.
    Single,
    /// The same from a model that runs in half precision: 13 of the 23 bits of each mantissa are 0.
    Half,
}

/// The vectors of one model.
#[derive(Debug)]
pub struct EmbeddingSpace {
    kind: Embeddings,
    dimensions: usize,
    mean: Vec<f32>,
    /// `RANK` directions, the strong ones first, each as long as it is strong.
    directions: Vec<Vec<f32>>,
}

impl EmbeddingSpace {
    pub(crate) fn new(kind: Embeddings, dimensions: usize, seed: u64) -> Self {
        let mut space = Self { kind, dimensions, mean: Vec::new(), directions: Vec::new() };
        if kind != Embeddings::Normal {
            let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x0e3b_edd1_0615_ace5);
            space.mean = direction(&mut random, dimensions, MEAN);
            // The eigenvalues of embeddings fall with a power of their rank.
            let strength = |rank: usize| 0.45 / ((rank + 1) as f32).sqrt();
            space.directions =
                (0..RANK).map(|rank| direction(&mut random, dimensions, strength(rank))).collect();
        }
        space
    }

    pub(crate) fn draw(&self, random: &mut ChaCha8Rng) -> Vec<f32> {
        if self.kind == Embeddings::Normal {
            return (0..self.dimensions).map(|_| normal(random)).collect();
        }
        let noise = NOISE / (self.dimensions as f32).sqrt();
        let mut vector: Vec<f32> =
            self.mean.iter().map(|mean| mean + noise * normal(random)).collect();
        for direction in &self.directions {
            let strength = normal(random);
            for (component, along) in vector.iter_mut().zip(direction) {
                *component += strength * along;
            }
        }
        let length = vector.iter().map(|component| component * component).sum::<f32>().sqrt();
        for component in &mut vector {
            *component /= length;
            if self.kind == Embeddings::Half {
                *component = half(*component);
            }
        }
        vector
    }
}

/// A random direction of the given length, with a few components much larger than the others, as the
/// outlier dimensions of transformers are.
fn direction(random: &mut ChaCha8Rng, dimensions: usize, length: f32) -> Vec<f32> {
    let mut vector: Vec<f32> = (0..dimensions)
        .map(|_| {
            let component = normal(random);
            component * component.abs()
        })
        .collect();
    let norm = vector.iter().map(|component| component * component).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|component| *component *= length / norm);
    vector
}

/// The nearest number of 10 mantissa bits. Those too small for half precision become 0.
fn half(number: f32) -> f32 {
    const SMALLEST: f32 = 6.1e-5;
    if number.abs() < SMALLEST {
        return 0.0;
    }
    f32::from_bits(number.to_bits().wrapping_add(1 << 12) & !0x1fff)
}
