//! The names of a decoder's tensors: GGUF's, which are used here, and those of Hugging Face checkpoints.

/// Tensors outside the layers, without `.weight`: GGUF name and Hugging Face name.
const OUTER: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];
/// Tensors within a layer.
const INNER: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// The name of a tensor in a checkpoint: `model.layers.0.self_attn.q_proj.weight` for `blk.0.attn_q.weight`.
pub(super) fn to_hub(name: &str) -> Option<String> {
    let (layer, kind) = name.rsplit_once('.')?;
    if let Some(rest) = layer.strip_prefix("blk.") {
        let (index, part) = rest.split_once('.')?;
        let (_, theirs) = INNER.iter().find(|(ours, _)| *ours == part)?;
        return Some(format!("model.layers.{index}.{theirs}.{kind}"));
    }
    let (_, theirs) = OUTER.iter().find(|(ours, _)| *ours == layer)?;
    Some(format!("{theirs}.{kind}"))
}

/// The GGUF name of a module of a checkpoint: `blk.0.attn_q` for `model.layers.0.self_attn.q_proj`.
pub(super) fn from_hub(layer: &str) -> Option<String> {
    if let Some(rest) = layer.strip_prefix("model.layers.") {
        let (index, part) = rest.split_once('.')?;
        let index: usize = index.parse().ok()?;
        let (ours, _) = INNER.iter().find(|(_, theirs)| *theirs == part)?;
        return Some(format!("blk.{index}.{ours}"));
    }
    let (ours, _) = OUTER.iter().find(|(_, theirs)| *theirs == layer)?;
    Some((*ours).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_map_both_ways() {
        for (ours, theirs) in [
            ("blk.12.attn_q", "model.layers.12.self_attn.q_proj"),
            ("blk.0.ffn_down", "model.layers.0.mlp.down_proj"),
            ("output", "lm_head"),
        ] {
            assert_eq!(to_hub(&format!("{ours}.bias")), Some(format!("{theirs}.bias")));
            assert_eq!(from_hub(theirs).as_deref(), Some(ours));
        }
        assert_eq!(to_hub("blk.0.ffn_gate_exps.weight"), None);
        assert_eq!(from_hub("model.layers.x.mlp.up_proj"), None);
    }
}
