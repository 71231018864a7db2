//! How faithful a set is to the target model, in JSON.

use serde::{Deserialize, Serialize, Serializer};
use tributary_model::{Faithfulness, FarOutput};

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct StoredFaithfulness {
    mean_kl: f32,
    positions: usize,
    agreeing: usize,
    far_outputs: usize,
    farthest: Option<StoredFarOutput>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct StoredFarOutput {
    position: usize,
    token: u32,
    prob: f32,
    target_prob: f32,
}

#[expect(clippy::ref_option, reason = "serde hands out a reference to the field")]
pub(crate) fn serialize<S: Serializer>(found: &Option<Faithfulness>, serializer: S) -> Result<S::Ok, S::Error> {
    found.map(StoredFaithfulness::from).serialize(serializer)
}

impl From<Faithfulness> for StoredFaithfulness {
    fn from(Faithfulness { mean_kl, positions, agreeing, far_outputs, farthest }: Faithfulness) -> Self {
        let stored =
            |FarOutput { position, token, prob, target_prob }| StoredFarOutput { position, token, prob, target_prob };
        Self { mean_kl, positions, agreeing, far_outputs, farthest: farthest.map(stored) }
    }
}

impl From<StoredFaithfulness> for Faithfulness {
    fn from(stored: StoredFaithfulness) -> Self {
        let StoredFaithfulness { mean_kl, positions, agreeing, far_outputs, farthest } = stored;
        let read =
            |StoredFarOutput { position, token, prob, target_prob }| FarOutput { position, token, prob, target_prob };
        Self { mean_kl, positions, agreeing, far_outputs, farthest: farthest.map(read) }
    }
}
