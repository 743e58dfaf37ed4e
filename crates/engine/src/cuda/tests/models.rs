//! Whole models compared with their CPU counterparts.

use std::{collections::HashMap, thread};

use candle_core::{Device, Tensor};

use super::*;
use crate::{
    Models, Turn,
    bert::{Bert, BertConfig, Sequence},
    config::Precision,
    cuda::CudaDecoder,
    decoder::{CpuDecoder, KvCache, Next, Step, Watch, Weights},
    kernels::KV_BLOCK,
    modern_bert::{ModernBert, ModernBertConfig},
    tensors::Tensors,
};

const MODEL: &str = "smollm2-135m-instruct";

on_machines! {
    a_decoder_is_close_to_the_one_on_the_processor_whatever_its_company,
    bert_is_the_one_on_the_processor,
    modern_bert_is_the_one_on_the_processor,
}

fn models() -> Models {
    Models::new(&crate::testing::config()).unwrap()
}

fn weights() -> Weights {
    Weights::open(&models().pull(MODEL).unwrap()).unwrap()
}

fn prompts() -> Vec<Vec<u32>> {
    // The tokenizer is in the weights file, which may have to be fetched first.
    models().pull(MODEL).unwrap();
    let tokenizer = models().tokenizer(MODEL).unwrap();
    let texts = [
        "The Monitor met the Merrimack off Hampton Roads in 1862. The Monitor was a ship with iron plates and a \
         turret. What was it that the Monitor met? It was the",
        "One, two, three, four, five,",
    ];
    texts.iter().map(|text| tokenizer.encode(*text, false).unwrap().get_ids().to_vec()).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn greatest(logits: &[f32]) -> u32 {
    (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as u32
}

fn logits(next: Next) -> Vec<f32> {
    let Next::Logits(logits) = next else { panic!("{next:?}") };
    logits
}

/// The logits of a prompt read in one step, and of three tokens written after it.
fn alone(model: &CudaDecoder, prompt: &[u32]) -> Vec<Vec<f32>> {
    let mut cache = KvCache::default();
    let mut all = Vec::new();
    let mut ids = prompt.to_vec();
    for _ in 0..4 {
        let mut steps = [Step { ids: &ids, cache: &mut cache, logits: 1, best_only: false, watch: None }];
        let logits = logits(model.forward(&mut steps).unwrap().remove(0));
        ids = vec![greatest(&logits)];
        all.push(logits);
    }
    all
}

fn a_decoder_is_close_to_the_one_on_the_processor_whatever_its_company(machine: Arc<dyn Machine>) {
    let prompts = prompts();
    let cpu = CpuDecoder::load(&mut weights(), None).unwrap();
    let page = 30 * 2 * KV_BLOCK * 3 * 64 * 2;
    let model = CudaDecoder::load(&mut weights(), &machine, || Ok(8 * page)).unwrap();
    assert_eq!(model.pages(), 8);
    let expected: Vec<Vec<Vec<f32>>> = prompts.iter().map(|prompt| alone(&model, prompt)).collect();
    for (prompt, logits) in prompts.iter().zip(&expected) {
        let mut cache = KvCache::default();
        let mut steps = [Step { ids: prompt, cache: &mut cache, logits: 1, best_only: false, watch: None }];
        let theirs = cpu.forward(&mut steps).unwrap().remove(0);
        let close = cosine(&logits[0], &theirs);
        println!("cosine {close}, tokens {} and {}", greatest(&logits[0]), greatest(&theirs));
        assert!(close > 0.99, "{close}");
    }
    // Both together, with the first prompt split into pieces, so that one sequence writes while the other
    // reads.
    let mut caches = [KvCache::default(), KvCache::default()];
    let pieces = [1, 20, 7];
    let mut begin = 0;
    let mut second = prompts[1].clone();
    let mut written = Vec::new();
    for count in pieces {
        let [first, other] = &mut caches;
        let mut steps = [
            Step {
                ids: &prompts[0][begin..begin + count],
                cache: first,
                logits: 0,
                best_only: false,
                watch: None,
            },
            Step { ids: &second, cache: other, logits: 1, best_only: false, watch: None },
        ];
        let mut next = model.forward(&mut steps).unwrap();
        assert!(next[0].is_empty());
        let own = logits(next.remove(1));
        second = vec![greatest(&own)];
        written.push(own);
        begin += count;
    }
    assert_eq!(written, expected[1][..3]);
    let [first, _] = &mut caches;
    let mut steps =
        [Step { ids: &prompts[0][begin..], cache: first, logits: 1, best_only: false, watch: None }];
    assert_eq!(logits(model.forward(&mut steps).unwrap().remove(0)), expected[0][0]);
    // One sequence wants only the most likely token, the other its logits; both want their attention.
    let mut both = [KvCache::default(), KvCache::default()];
    let [first, other] = &mut both;
    let ranges = [vec![0..7, 7..29, 29..99], vec![2..5, 5..7]];
    let mut masses = [Vec::new(), Vec::new()];
    let [own, others] = &mut masses;
    let mut steps = [
        Step {
            ids: &prompts[0],
            cache: first,
            logits: 1,
            best_only: true,
            watch: Some(Watch { ranges: &ranges[0], masses: own }),
        },
        Step {
            ids: &prompts[1],
            cache: other,
            logits: 1,
            best_only: false,
            watch: Some(Watch { ranges: &ranges[1], masses: others }),
        },
    ];
    let mut next = model.forward(&mut steps).unwrap();
    assert_eq!(next.remove(0), Next::Best(vec![Some(greatest(&expected[0][0]))]));
    assert_eq!(logits(next.remove(0)), expected[1][0]);
    for ((prompt, ranges), masses) in prompts.iter().zip(&ranges).zip(&masses) {
        let mut cache = KvCache::default();
        let mut theirs = Vec::new();
        let watch = Some(Watch { ranges, masses: &mut theirs });
        let mut steps = [Step { ids: prompt, cache: &mut cache, logits: 1, best_only: false, watch }];
        cpu.forward(&mut steps).unwrap();
        assert_eq!((masses.len(), theirs.len()), (270 * ranges.len(), 270 * ranges.len()));
        let far = masses.iter().zip(&theirs).fold(0.0_f32, |far, (a, b)| far.max((a - b).abs()));
        println!("attention differs by {far}");
        assert!(far < 0.1, "{far}");
    }
    // Ids outside the vocabulary and prompts that do not fit are errors, not panics.
    let mut cache = KvCache::default();
    assert!(
        model
            .forward(&mut [Step {
                ids: &[9_999_999],
                cache: &mut cache,
                logits: 1,
                best_only: false,
                watch: None
            }])
            .is_err()
    );
    let long = vec![1; 9 * KV_BLOCK];
    assert!(
        model
            .forward(&mut [Step { ids: &long, cache: &mut cache, logits: 1, best_only: false, watch: None }])
            .is_err()
    );
    drop((caches, both));
    // All pages have been returned.
    let mut cache = KvCache::default();
    let whole = vec![1; 8 * KV_BLOCK];
    cache.grow(whole.len(), || Ok(crate::decoder::KvBlock::Page(model.page().unwrap()))).unwrap();
    assert!(model.page().is_err());
}

fn windows(random: &mut Random, vocabulary: usize) -> Vec<Sequence> {
    [1, 31, 32, 33, 100]
        .iter()
        .map(|length| Sequence {
            ids: (0..*length).map(|_| random.below(vocabulary) as u32).collect(),
            second: length / 2,
        })
        .collect()
}

fn bert_is_the_one_on_the_processor(machine: Arc<dyn Machine>) {
    let mut random = Random::new();
    let (dim, inner, words) = (64, 96, 50);
    let config = BertConfig {
        hidden_size: dim,
        max_position_embeddings: 128,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        layer_norm_eps: 1e-12,
        hidden_act: "gelu".into(),
        position_embedding_type: "absolute".into(),
    };
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    let mut add = |name: String, rows: usize, columns: usize, scale: f32, around: f32| {
        let values: Vec<f32> =
            random.values(rows * columns.max(1), scale).iter().map(|value| value + around).collect();
        let shape: &[usize] = if columns == 0 { &[rows] } else { &[rows, columns] };
        tensors.insert(name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
    };
    let norm = |add: &mut dyn FnMut(String, usize, usize, f32, f32), name: &str| {
        add(format!("{name}.weight"), dim, 0, 0.2, 1.0);
        add(format!("{name}.bias"), dim, 0, 0.2, 0.0);
    };
    add("embeddings.word_embeddings.weight".into(), words, dim, 1.0, 0.0);
    add("embeddings.position_embeddings.weight".into(), 128, dim, 0.3, 0.0);
    add("embeddings.token_type_embeddings.weight".into(), 2, dim, 0.3, 0.0);
    norm(&mut add, "embeddings.LayerNorm");
    for layer in 0..2 {
        let parts = [
            ("attention.self.query", dim, dim),
            ("attention.self.key", dim, dim),
            ("attention.self.value", dim, dim),
            ("attention.output.dense", dim, dim),
            ("intermediate.dense", inner, dim),
            ("output.dense", dim, inner),
        ];
        for (part, outputs, inputs) in parts {
            add(format!("encoder.layer.{layer}.{part}.weight"), outputs, inputs, 0.2, 0.0);
            add(format!("encoder.layer.{layer}.{part}.bias"), outputs, 0, 0.1, 0.0);
        }
        norm(&mut add, &format!("encoder.layer.{layer}.attention.output.LayerNorm"));
        norm(&mut add, &format!("encoder.layer.{layer}.output.LayerNorm"));
    }
    let windows = windows(&mut random, words);
    let exact = Bert::new(tensors.clone(), config.clone(), Precision::F32)
        .unwrap()
        .forward(&windows, &Turn::now())
        .unwrap();
    let ours = Bert::on(&machine, || Ok(1 << 20), tensors.clone(), config.clone()).unwrap();
    assert!(ours.on_gpu());
    let together = ours.forward(&windows, &Turn::now()).unwrap();
    let far = error(&together, &exact);
    println!("{far}");
    assert!(far < 0.02, "{far}");
    // A window alone.
    let alone = ours.forward(&windows[1..2], &Turn::now()).unwrap();
    assert_eq!(alone, together[dim..32 * dim]);
    // Many concurrent callers.
    thread::scope(|scope| {
        let callers: Vec<_> =
            (0..8).map(|_| scope.spawn(|| ours.forward(&windows, &Turn::now()).unwrap())).collect();
        callers.into_iter().for_each(|caller| assert_eq!(caller.join().unwrap(), together));
    });
}

fn modern_bert_is_the_one_on_the_processor(machine: Arc<dyn Machine>) {
    let mut random = Random::new();
    let (dim, inner, words, layers) = (32, 48, 50, 4);
    let config: ModernBertConfig = serde_json::from_value(serde_json::json!({
        "hidden_size": dim,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": inner,
        "vocab_size": words,
        "max_position_embeddings": 128,
        "local_attention": 16,
        "norm_bias": true,
        "attention_bias": true,
        "mlp_bias": true,
    }))
    .unwrap();
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    let mut add = |name: String, shape: &[usize], scale: f32, around: f32| {
        let values = random.values(shape.iter().product(), scale);
        let values = values.iter().map(|value| value + around).collect();
        tensors.insert(name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
    };
    let mut norms = vec!["model.embeddings.norm".to_owned(), "model.final_norm".to_owned()];
    add("model.embeddings.tok_embeddings.weight".into(), &[words, dim], 1.0, 0.0);
    for layer in 0..layers {
        let at = |part: &str| format!("model.layers.{layer}.{part}");
        let parts = [
            ("attn.Wqkv", 3 * dim, dim),
            ("attn.Wo", dim, dim),
            ("mlp.Wi", 2 * inner, dim),
            ("mlp.Wo", dim, inner),
        ];
        for (part, outputs, inputs) in parts {
            add(at(&format!("{part}.weight")), &[outputs, inputs], 0.2, 0.0);
            add(at(&format!("{part}.bias")), &[outputs], 0.1, 0.0);
        }
        norms.push(at("mlp_norm"));
        norms.extend((layer > 0).then(|| at("attn_norm")));
    }
    for name in norms {
        add(format!("{name}.weight"), &[dim], 0.2, 1.0);
        add(format!("{name}.bias"), &[dim], 0.1, 0.0);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    candle_core::safetensors::save(&tensors, &file).unwrap();
    let tensors = Tensors::read(&file).unwrap();
    let windows = windows(&mut random, words);
    let exact =
        ModernBert::new(&tensors, &config, Precision::F32).unwrap().forward(&windows, &Turn::now()).unwrap();
    let ours = ModernBert::on(&machine, || Ok(1 << 20), &tensors, &config).unwrap();
    let together = ours.forward(&windows, &Turn::now()).unwrap();
    let far = error(&together, &exact);
    println!("{far}");
    assert!(far < 0.02, "{far}");
    let alone = ours.forward(&windows[1..2], &Turn::now()).unwrap();
    assert_eq!(alone, together[dim..32 * dim]);
}
