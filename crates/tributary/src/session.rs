//! A run, its CI sets and a backend, ready to compute.

use std::collections::BTreeMap;
use std::time::Instant;

use tributary_backend::{AttributionBackend, Element};
use tributary_engine::{
    Attributions, Cost, Forward, Method, Model, Request, Sink, SinkError, attribute, outline, stream,
};
use tributary_inputs::{Fingerprint, Tokenizer, TrainedRun};
use tributary_model::SetAttributions;
use tributary_results::{self as results, Kind, ModelInfo, PendingResults, ResultWriter, RunInfo, Stages, Timings};

use crate::outline::Counter;
use crate::output_targets::{AskedOutput, spelt};
use crate::sets::InputSets;
use crate::{Error, Folder, OnProgress, Outline, Progress, Settings, memory};

/// A trained run on a backend, with its CI sets: what [`attribute`](crate::attribute) opens, for programs that choose their
/// backend themselves or take the graphs elsewhere than into files.
///
/// CPU backends share their work out among the threads of rayon's pool, which is faster when it comes from one of them: call
/// from within [`rayon::scope`], as [`on_backend`](crate::on_backend) does.
pub struct Session<B: AttributionBackend> {
    settings: Settings,
    model: Model<B>,
    sets: InputSets,
    /// The last position of each set, where it is not its prompt's.
    until: Vec<Option<usize>>,
    output_targets: results::OutputTargets,
    asked: AskedOutput,
    fingerprint: Fingerprint,
    tokenizer: Tokenizer,
    /// Seconds that reading and uploading took.
    load: f64,
}

impl<B: AttributionBackend> Session<B> {
    /// Reads the run and the CI sets, and puts the run's weights on `backend`. [`Settings::compute`] is not looked at but for
    /// what a result records of it.
    pub fn open(settings: Settings, backend: B, on_progress: &mut OnProgress<'_>) -> Result<Self, Error> {
        let started = Instant::now();
        let run = settings.run.open(on_progress)?;
        let sets = InputSets::read(&settings.input, &run, &mut |text| on_progress(Progress::Note(text)))?;
        let until = settings.until.of(&sets.named())?;
        let vocab = run.weights.architecture.vocab;
        let output_targets = settings.output_targets.resolve(&run.tokenizer, vocab)?;
        let named = sets.named();
        let named = named.iter().zip(&until).map(|((name, prompt, _), until)| (name.as_str(), *prompt, *until));
        let asked = AskedOutput::new(&output_targets, vocab, named, &mut |text| on_progress(Progress::Note(text)))?;
        let TrainedRun { fingerprint, tokenizer, weights, .. } = run;
        let model = Model::upload(backend, weights)?;
        let load = started.elapsed().as_secs_f64();
        Ok(Self { settings, model, sets, until, output_targets, asked, fingerprint, tokenizer, load })
    }

    /// The model, on its backend.
    pub fn model(&self) -> &Model<B> {
        &self.model
    }

    /// What is asked of the engine.
    pub fn request(&self) -> Request<'_> {
        Request {
            thresholds: self.settings.thresholds,
            forward: self.settings.forward,
            method: self.method(),
            until: &self.until,
            output: self.asked.entries(),
            max_memory: self.settings.max_memory.or_else(memory::default_limit),
            ghosts: self.settings.ghosts,
            ..Request::new(self.sets.sets())
        }
    }

    fn method(&self) -> Method {
        self.settings.method.unwrap_or_else(|| self.model.fastest_method())
    }

    /// Computes the graphs and holds all of them, whatever memory that takes.
    pub fn collect(&self, on_progress: &mut OnProgress<'_>) -> Result<Attributions<B::Element>, Error> {
        let mut progress = |progress| on_progress(Progress::Engine(progress));
        Ok(attribute(&self.model, &Request { max_memory: None, ..self.request() }, &mut progress)?)
    }

    /// Hands the graphs to `sink` while they are computed.
    pub fn stream(&self, sink: &mut dyn Sink<B::Element>, on_progress: &mut OnProgress<'_>) -> Result<Cost, Error> {
        Ok(stream(&self.model, &self.request(), sink, &mut |progress| on_progress(Progress::Engine(progress)))?)
    }

    /// Writes a result folder, which appears whole or not at all, when what this gives is committed.
    pub fn write(&self, folder: Folder<'_>, on_progress: &mut OnProgress<'_>) -> Result<PendingResults, Error> {
        self.write_to(begin(&self.settings, folder)?, folder, on_progress)
    }

    pub(crate) fn write_to(
        &self,
        mut writer: ResultWriter,
        folder: Folder<'_>,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<PendingResults, Error> {
        writer.ask_for(self.output_targets.clone());
        let mut files = FileSink { writer, sets: &self.sets };
        let cost = self.stream(&mut files, on_progress)?;
        on_progress(Progress::Finishing(folder.path));
        let (contrasts, vocab) = (self.output_targets.contrasts(), self.model.architecture().vocab);
        let spelling = |token| self.tokenizer.token_string(token);
        files.writer.name_output_tokens(|component| spelt(&contrasts, vocab, component, spelling));
        let text = |token| self.tokenizer.token_text(token);
        let texts = |tokens: &[u32]| self.tokenizer.token_texts(tokens);
        files.writer.decode_tokens(texts, |component| spelt(&contrasts, vocab, component, text));
        Ok(files.writer.prepare(self.run_info(cost)?))
    }

    /// Runs the forward pass alone, which tells all nodes, and says what follows from them.
    pub fn outline(&self, on_progress: &mut OnProgress<'_>) -> Result<Outline, Error> {
        let request = self.request();
        let mut counter = Counter::new(&self.sets, self.settings.recorded());
        let cost =
            outline(&self.model, &request, &mut counter, &mut |progress| on_progress(Progress::Engine(progress)))?;
        Ok(Outline {
            sets: counter.into_sets(),
            memory: cost.memory,
            max_memory: request.max_memory,
            batches: cost.batches,
            method: request.method,
        })
    }

    fn run_info(&self, cost: Cost) -> Result<RunInfo, Error> {
        let deltas = match self.settings.forward {
            Forward::Masked => BTreeMap::new(),
            Forward::Target(_) => {
                let sizes = self.model.delta_sizes()?.into_iter();
                sizes.map(|(layer, size)| (layer.to_string(), size as f32)).collect()
            }
        };
        let (info, architecture) = (self.model.backend().device(), self.model.architecture());
        Ok(RunInfo {
            kind: Kind::Attributions,
            model: ModelInfo {
                class: architecture.model_class.clone(),
                fingerprint: self.fingerprint.to_string(),
                n_blocks: architecture.n_blocks,
                vocab: architecture.vocab,
                components: self.model.component_counts().clone(),
            },
            inputs: Some(self.settings.inputs(self.sets.sha256())),
            backend: info.backend.to_owned(),
            device: info.device,
            dtype: info.dtype.to_string(),
            method: self.method().name().to_owned(),
            deltas,
            timings: Timings {
                load: self.load,
                model_ci: cost.timings.model_ci,
                forward: cost.timings.forward,
                attribution: cost.timings.attribution,
                write: 0.0,
                stages: Stages {
                    output: cost.timings.output,
                    target_output: cost.timings.target_output,
                    residual: cost.timings.stages.residual,
                    attention: cost.timings.stages.attention,
                    elementwise: cost.timings.stages.elementwise,
                    autograd: cost.timings.stages.autograd,
                },
            },
        })
    }
}

/// Begins to write a result: an output that cannot be written to is better known before hours of computation than after.
pub(crate) fn begin(settings: &Settings, folder: Folder<'_>) -> Result<ResultWriter, Error> {
    Ok(ResultWriter::create(folder.path, folder.replace, settings.recorded())?)
}

/// Writes graphs as they come.
struct FileSink<'a> {
    writer: ResultWriter,
    sets: &'a InputSets,
}

impl<E: Element> Sink<E> for FileSink<'_> {
    fn begin(&mut self, set: usize, graph: SetAttributions<E>) -> Result<(), SinkError> {
        let (prompt, metadata) = (self.sets.prompt(set), self.sets.metadata(set).cloned());
        Ok(self.writer.begin_set(set, &graph, prompt, metadata)?)
    }

    fn values(&mut self, set: usize, pair: usize, values: &[E]) -> Result<(), SinkError> {
        Ok(self.writer.write_values(set, pair, values)?)
    }

    fn stopped_values(&mut self, set: usize, pair: usize, values: &[E]) -> Result<(), SinkError> {
        Ok(self.writer.write_stopped_values(set, pair, values)?)
    }

    fn end(&mut self, set: usize) -> Result<(), SinkError> {
        Ok(self.writer.end_set(set)?)
    }

    fn memory(&self, sets: usize, layers: usize, pairs: usize) -> u64 {
        ResultWriter::memory(sets, layers, pairs)
    }
}
