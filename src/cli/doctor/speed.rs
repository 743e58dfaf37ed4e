//! The GPU, and the speed of the decoder.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use epitome_engine as model;
use epitome_engine::{Class, Finish, Gpu, Models, RunBy, Sampling};
use serde::Serialize;

use super::{Finding, mebibytes};
use crate::config::{Device, Precision};

/// Time limit for measuring the decoder.
const AT_MOST: Duration = Duration::from_secs(8);
/// Repeated to a prompt of a few hundred tokens.
const SENTENCE: &str = "The ship went over the long sea and saw land where people had built small houses. ";
const SENTENCES: usize = 24;
/// As many for a prompt of a segment's size, for a GPU: a short one would leave most of it idle.
const SENTENCES_OF_A_SEGMENT: usize = 80;
/// Tokens generated.
const WRITTEN: usize = 32;
/// The summary tree over a text of 100,000 tokens, with the default sizes: its segments, its merges (groups of
/// four, up to one root), the tokens of a merge's notes and those of a summary.
const TREE: Tree = Tree { tokens: 100_000.0, leaves: 67.0, merges: 25.0, notes: 800.0, summary: 120.0 };

struct Tree {
    tokens: f64,
    leaves: f64,
    merges: f64,
    notes: f64,
    summary: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct GpuReport {
    name: Option<String>,
    /// Compute capability.
    capability: Option<String>,
    /// The newest CUDA version that the driver supports.
    driver_cuda: Option<String>,
    nvrtc: Option<String>,
    cublas_lt: Option<String>,
    memory_bytes: Option<usize>,
    memory_free_bytes: Option<usize>,
    /// In bf16, measured with the products that models use.
    multiply_adds_per_second: Option<f64>,
    memory_bytes_per_second: Option<f64>,
    /// Whether its results match the CPU's; `None` without a GPU.
    self_check: Option<Finding>,
    #[serde(flatten)]
    finding: Finding,
}

/// Speed of a single request on the configured decoder; `problem` says why a figure is missing.
#[derive(Debug, Serialize)]
pub(super) struct DecoderSpeed {
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'static str>,
    /// `engine` or `candle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_by: Option<&'static str>,
    prompt_tokens_per_second: Option<f64>,
    tokens_per_second: Option<f64>,
    /// What the summaries of 100,000 tokens would take at these rates, one after the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    summaries_of_100k_tokens_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl DecoderSpeed {
    /// `None` if the decoder's files are missing.
    pub(super) fn measured(models: &Models, name: &str) -> Option<Self> {
        models.locate(name).ok()?;
        Some(Self::measure(models).unwrap_or_else(|problem| Self {
            device: None,
            run_by: None,
            prompt_tokens_per_second: None,
            tokens_per_second: None,
            summaries_of_100k_tokens_seconds: None,
            problem: Some(problem),
        }))
    }

    fn measure(models: &Models) -> Result<Self, String> {
        let decoder = models.decoder().map_err(|error| error.to_string())?;
        let precision = models.precision().map_err(|error| error.to_string())?;
        let on_gpu = precision == Precision::Gpu;
        let sentences = if on_gpu { SENTENCES_OF_A_SEGMENT } else { SENTENCES };
        // Sampled, not greedy: greedy decoding uses prompt lookup, and this repetitive prompt would make it
        // seem faster than on typical text.
        let sampling = Sampling { temperature: 1.0, ..Sampling::greedy(WRITTEN) };
        let start = Instant::now();
        let mut first = None;
        let mut sink = |piece: &str| {
            if !piece.is_empty() {
                first.get_or_insert_with(|| start.elapsed());
            }
            if start.elapsed() < AT_MOST { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let written = decoder
            .generate(Class::Chat, &SENTENCE.repeat(sentences), &sampling, &mut sink)
            .map_err(|error| error.to_string())?;
        let whole = start.elapsed().as_secs_f64();
        let (stopped, count) = (written.finish == Finish::Cancelled, written.completion_tokens);
        if stopped && first.is_none() {
            return Err(format!("its prompt of some hundred tokens was not read in {} s", AT_MOST.as_secs()));
        }
        let first = first.map_or(whole, |first| first.as_secs_f64());
        let rest = whole - first;
        let run_by = decoder.run_by();
        let on_gpu = on_gpu && run_by == RunBy::Engine;
        // The time to the first token is the prefill.
        let reads = written.prompt_tokens as f64 / first;
        let writes = (count > 1 && rest > 0.0).then(|| (count - 1) as f64 / rest);
        Ok(Self {
            device: Some(if on_gpu { "gpu" } else { "cpu" }),
            run_by: Some(run_by.name()),
            prompt_tokens_per_second: Some(reads),
            tokens_per_second: writes,
            summaries_of_100k_tokens_seconds: writes.map(|writes| TREE.seconds(reads, writes)),
            problem: (count <= 1).then(|| match stopped {
                true => format!("less than two tokens in {} s", AT_MOST.as_secs()),
                false => "it ended before the second token".to_owned(),
            }),
        })
    }

    pub(super) fn text(&self) -> String {
        let (Some(read), Some(device)) = (self.prompt_tokens_per_second, self.device) else {
            return format!("unknown: {}", self.problem.as_deref().unwrap_or("not measured"));
        };
        let written = match self.tokens_per_second {
            Some(written) => format!("{written:.0} tokens/s written"),
            None => {
                format!("an unknown speed of writing ({})", self.problem.as_deref().unwrap_or("not measured"))
            }
        };
        let by = match self.run_by {
            Some(by) if by == RunBy::Candle.name() => {
                ", through candle: sequences take turns, without batches, shared prefixes, prompt lookup or ranking by \
                 attention"
            }
            _ => "",
        };
        let summaries = self.summaries_of_100k_tokens_seconds.map_or_else(String::new, |seconds| {
            format!("; summaries of 100,000 tokens would take {}, less in batches", words(seconds))
        });
        format!(
            "{read:.0} tokens/s read and {written} by the decoder, one request, on the {device}{by}{summaries}"
        )
    }
}

impl Tree {
    /// The time to write all of it, one node after the other, by tokens read and written per second.
    fn seconds(&self, reads: f64, writes: f64) -> f64 {
        let read = self.tokens + self.merges * self.notes;
        read / reads + (self.leaves + self.merges) * self.summary / writes
    }
}

fn words(seconds: f64) -> String {
    if seconds < 90.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

impl GpuReport {
    pub(super) fn here() -> Self {
        Self::of(model::gpu())
    }

    fn of(gpu: Result<Gpu, String>) -> Self {
        let (gpu, problem) = match gpu {
            Ok(gpu) => (Some(gpu), None),
            Err(problem) => (None, Some(problem)),
        };
        let version = |(major, minor): (i32, i32)| format!("{major}.{minor}");
        let gpu = gpu.as_ref();
        Self {
            name: gpu.map(|gpu| gpu.name.clone()),
            capability: gpu.map(|gpu| version(gpu.capability)),
            driver_cuda: gpu.map(|gpu| version(gpu.driver)),
            nvrtc: gpu.map(|gpu| gpu.libraries[0].clone()),
            cublas_lt: gpu.map(|gpu| gpu.libraries[1].clone()),
            memory_bytes: gpu.map(|gpu| gpu.total),
            memory_free_bytes: gpu.map(|gpu| gpu.free),
            multiply_adds_per_second: gpu.map(|gpu| gpu.multiply_adds),
            memory_bytes_per_second: gpu.map(|gpu| gpu.bytes),
            self_check: gpu.map(|gpu| Finding::of(gpu.check.clone())),
            finding: Finding { usable: gpu.is_some(), problem },
        }
    }

    /// The result of the self-check and its consequence for `models.device`; `None` without a GPU.
    pub(super) fn check_text(&self, device: Device) -> Option<String> {
        let check = self.self_check.as_ref()?;
        let used = match (device, check.usable) {
            (Device::Cpu, _) => "models run on the processor (models.device is cpu)",
            (Device::Auto | Device::Cuda, true) => "models run on the GPU",
            (Device::Auto, false) => "models run on the processor",
            (Device::Cuda, false) => "models do not run (models.device is cuda)",
        };
        let result = check.text("products and encoder windows are the processor's");
        Some(format!("{result}; {used}"))
    }

    pub(super) fn text(&self) -> String {
        let known = |value: &Option<String>| value.clone().unwrap_or_default();
        let bytes = |value: Option<usize>| mebibytes(value.unwrap_or(0) as u64);
        match &self.finding.problem {
            Some(problem) => format!("none: {problem}"),
            None => format!(
                "{}, compute capability {}, {}, {} of it free; driver for CUDA {}, libnvrtc {}, libcublasLt {}: \
                 {:.0} G multiply-adds/s in bf16, {:.0} GB/s from and to memory",
                known(&self.name),
                known(&self.capability),
                bytes(self.memory_bytes),
                bytes(self.memory_free_bytes),
                known(&self.driver_cuda),
                known(&self.nvrtc),
                known(&self.cublas_lt),
                self.multiply_adds_per_second.unwrap_or(0.0) / 1e9,
                self.memory_bytes_per_second.unwrap_or(0.0) / 1e9
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_tree_is_that_of_its_tokens() {
        // 120,000 tokens read, 11,040 written.
        assert!((TREE.seconds(1200.0, 110.4) - 200.0).abs() < 1e-9);
        let speed = DecoderSpeed {
            device: Some("cpu"),
            run_by: Some("engine"),
            prompt_tokens_per_second: Some(1200.0),
            tokens_per_second: Some(110.4),
            summaries_of_100k_tokens_seconds: Some(200.0),
            problem: None,
        };
        assert!(
            speed.text().ends_with("100,000 tokens would take 3 min, less in batches"),
            "{}",
            speed.text()
        );
    }

    #[test]
    fn the_self_check_of_a_gpu_has_a_line() {
        let gpu = |check: Result<(), String>| Gpu {
            name: "a GPU".into(),
            capability: (9, 0),
            driver: (13, 0),
            libraries: ["13.0".into(), "13.0.1".into()],
            free: 1 << 30,
            total: 1 << 31,
            multiply_adds: 1e12,
            bytes: 1e12,
            check,
        };
        let text = |gpu, device| GpuReport::of(gpu).check_text(device);
        let wrong = || Err("a window of an encoder is 100.0 % off".to_owned());
        assert_eq!(text(Err("none".into()), Device::Auto), None);
        let sound = text(Ok(gpu(Ok(()))), Device::Auto).unwrap();
        assert!(sound.ends_with("the processor's; models run on the GPU"), "{sound}");
        let failed = text(Ok(gpu(wrong())), Device::Auto).unwrap();
        assert!(
            failed.starts_with("PROBLEM: a window") && failed.ends_with("run on the processor"),
            "{failed}"
        );
        assert!(text(Ok(gpu(wrong())), Device::Cuda).unwrap().contains("models do not run"));
        assert!(text(Ok(gpu(Ok(()))), Device::Cpu).unwrap().contains("models.device is cpu"));
        let json = serde_json::to_value(GpuReport::of(Ok(gpu(wrong())))).unwrap();
        assert_eq!(json["self_check"]["usable"], false);
    }

    #[test]
    fn the_line_on_speed_says_what_candle_lacks() {
        let text = |run_by: RunBy| {
            let speed = DecoderSpeed {
                device: Some("cpu"),
                run_by: Some(run_by.name()),
                prompt_tokens_per_second: Some(40.0),
                tokens_per_second: Some(9.0),
                summaries_of_100k_tokens_seconds: None,
                problem: None,
            };
            speed.text()
        };
        assert!(text(RunBy::Engine).ends_with("on the cpu"));
        assert!(text(RunBy::Candle).contains("through candle: sequences take turns"));
    }
}
