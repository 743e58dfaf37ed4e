//! The prompt for a reader.

use std::{fs, path::Path};

use epitome_compactor::TemplateError;
use minijinja::{Environment, UndefinedBehavior, Value, context};

use crate::eval::row::{Row, Scoring};

/// The template for a question about a text, and the one for a question alone.
const OPEN: (&str, &str) = ("reader.txt", include_str!("../../../templates/reader.txt"));
const CLOSED: (&str, &str) = ("reader-closed.txt", include_str!("../../../templates/reader-closed.txt"));

/// The prompt templates.
#[derive(Debug)]
pub struct Prompts {
    environment: Environment<'static>,
    open: String,
    closed: String,
}

/// A prompt, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Its text.
    pub text: String,
    /// BLAKE3 of the template's text, hexadecimal.
    pub template: String,
}

impl Prompts {
    /// The built-in templates, each replaced by the file of its name in `directory` (the value of
    /// `render.templates`) if there is one. Each is tried on a small example.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] names the file and the line.
    pub fn load(directory: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let mut hash_of = |(name, built_in): (&'static str, &str)| -> Result<String, TemplateError> {
            let path = Path::new(directory).join(name);
            let (label, text) = if !directory.is_empty() && path.exists() {
                let label = path.display().to_string();
                let read = |source| TemplateError::Read { path: label.clone(), source };
                let text = fs::read_to_string(&path).map_err(read)?;
                (label, text)
            } else {
                (name.to_owned(), built_in.to_owned())
            };
            let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
            environment.add_template_owned(name, text).map_err(|error| invalid(&label, &error))?;
            let template = environment.get_template(name).map_err(|error| invalid(&label, &error))?;
            for form in [Form::Choice, Form::Short, Form::Free, Form::Code] {
                let values = values("text", "question", form, &["a".to_owned()]);
                template.render(values).map_err(|error| invalid(&label, &error))?;
            }
            Ok(hash)
        };
        let (open, closed) = (hash_of(OPEN)?, hash_of(CLOSED)?);
        Ok(Self { environment, open, closed })
    }

    /// BLAKE3 of each template's text.
    pub fn key(&self) -> String {
        format!("{}/{}", self.open, self.closed)
    }

    /// The prompt for `row` over `context`; without a context, the closed-book one.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Invalid`] if the template fails for this row.
    pub fn fill(&self, row: &Row, context: &str) -> Result<Prompt, TemplateError> {
        let ((name, _), hash) =
            if context.trim().is_empty() { (CLOSED, &self.closed) } else { (OPEN, &self.open) };
        let values = values(context, &row.query, Form::of(row), &row.choices);
        let text = self
            .environment
            .get_template(name)
            .and_then(|template| template.render(values))
            .map_err(|error| invalid(name, &error))?;
        Ok(Prompt { text: text.trim_end().to_owned(), template: hash.clone() })
    }
}

/// The form of the expected answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Choice,
    Short,
    Free,
    Code,
}

impl Form {
    fn of(row: &Row) -> Self {
        match row.scoring {
            Scoring::Mcq => Form::Choice,
            Scoring::F1OrJudge | Scoring::RougeOrJudge => Form::Free,
            Scoring::EditSimilarity => Form::Code,
            Scoring::SubspanEm
            | Scoring::ContainsAny
            | Scoring::ContainsAll
            | Scoring::F1Contains
            | Scoring::Exact => Form::Short,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Form::Choice => "choice",
            Form::Short => "short",
            Form::Free => "free",
            Form::Code => "code",
        }
    }
}

fn values(context: &str, question: &str, form: Form, choices: &[String]) -> Value {
    let options: Vec<Value> = ('A'..='Z')
        .zip(choices)
        .map(|(letter, text)| context! { letter => letter.to_string(), text => text })
        .collect();
    context! { context => context, question => question, form => form.as_str(), options => options }
}

fn invalid(name: &str, error: &minijinja::Error) -> TemplateError {
    let message = error.detail().map_or_else(|| error.kind().to_string(), ToOwned::to_owned);
    TemplateError::Invalid { name: name.to_owned(), line: error.line().unwrap_or(0), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::row::Stratum;

    fn row(scoring: Scoring) -> Row {
        Row {
            id: "1".into(),
            task: "t".into(),
            context: "".into(),
            query: "Who {{ asked }}?".into(),
            answers: vec![],
            choices: vec!["she".into(), "he".into()],
            answer_index: Some(0),
            scoring,
            summary: Default::default(),
            gold: vec![],
            position: None,
            document: "d".into(),
            stratum: Stratum::Semantic,
        }
    }

    #[test]
    fn every_form_has_its_wording() {
        let prompts = Prompts::load("").unwrap();
        let choice = prompts.fill(&row(Scoring::Mcq), "She <did> {% not %}.").unwrap();
        insta::assert_snapshot!(choice.text, @r"
        Answer the question from the text below. Use only what the text says.

        Text:
        She <did> {% not %}.

        Question: Who {{ asked }}?
        A. she
        B. he
        Answer with the letter of the right option and nothing else.
        Answer:
        ");
        let closed = prompts.fill(&row(Scoring::SubspanEm), " \n").unwrap();
        insta::assert_snapshot!(closed.text, @r"
        Answer the question from what you know. If you do not know, guess.

        Question: Who {{ asked }}?
        Answer in as few words as you can, without a sentence around them.
        Answer:
        ");
        assert_ne!(closed.template, choice.template);
        let free = prompts.fill(&row(Scoring::RougeOrJudge), "x").unwrap();
        assert!(free.text.ends_with("Answer in a few plain sentences.\nAnswer:"), "{}", free.text);
        let code = prompts.fill(&row(Scoring::EditSimilarity), "def f():").unwrap();
        assert!(code.text.starts_with("def f():\nWho"), "{}", code.text);
    }

    #[test]
    fn a_custom_template_changes_prompt_and_hash() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().display().to_string();
        fs::write(dir.path().join("reader.txt"), "{{ question }}|{{ context }}").unwrap();
        let prompt = Prompts::load(&directory).unwrap().fill(&row(Scoring::Mcq), "c").unwrap();
        assert_eq!(prompt.text, "Who {{ asked }}?|c");
        assert_ne!(prompt.template, Prompts::load("").unwrap().open);
        fs::write(dir.path().join("reader.txt"), "fine\n{{ nothing }}").unwrap();
        let error = Prompts::load(&directory).unwrap_err().to_string();
        assert!(error.contains("reader.txt, line 2"), "{error}");
    }
}
