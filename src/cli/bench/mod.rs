//! `datakey-pkcs11 bench`: how fast a token signs, and how long KMS takes.

mod figures;
mod subject;

use super::desk::Desk;
use super::input;
use super::key::{Access, KINDS, Kind};
use super::object::{Key, Name};
use super::output::{Answer, Failure, counted};
use super::progress::Progress;
use crate::config::{self, Environment};
use crate::counters::Count;
use crate::host;
use crate::session::Session;
use clap::builder::PossibleValuesParser;
use figures::{Figures, Operation};
use std::sync::Arc;
use std::time::Duration;
use subject::Subject;

/// Measure how many signatures a token makes in a second, how long the first use of a key takes, and how long KMS takes
/// to answer.
///
/// It makes key pairs that belong to its session alone, so that nothing of them is ever in the store, however it ends; or
/// uses a key that is there. KMS charges for its calls: it says how many it will make, and asks before it makes more than
/// a few. Signatures are made as by C_SignInit and C_Sign, by one thread and by several.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    access: Access,
    /// The kinds of key pair to make and measure
    #[arg(
        long = "type",
        value_name = "TYPE",
        value_delimiter = ',',
        default_values_t = ["rsa-2048".to_owned(), "p-256".to_owned(), "ed25519".to_owned()],
        value_parser = PossibleValuesParser::new(KINDS.iter().filter(|kind| subject::signs(kind)).map(|kind| kind.name))
    )]
    kinds: Vec<String>,
    /// Measure this key of the token instead: its label, id:HEX, or its unique id
    #[arg(long, value_name = "KEY", conflicts_with = "kinds")]
    key: Option<Name>,
    /// How many threads sign at once, beside the measurement with one (default: as many as there are processors)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// How long each measurement signs, in seconds; it ends earlier where the token's cache says max_uses or max_age
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// How often KMS opens each key: Decrypt
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    decrypts: u16,
    /// How many key pairs of each kind KMS makes: GenerateDataKeyPair
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1000))]
    generates: u16,
    /// Do not ask: neither if it takes many calls of KMS, nor if the audit log gets a line for each signature
    #[arg(long)]
    yes: bool,
}

/// More calls of KMS than these are not made unasked.
const UNASKED: u64 = 20;

/// What is to be done.
struct Plan {
    subjects: Vec<Planned>,
    /// With how many threads.
    threads: Vec<usize>,
    /// How long at most.
    time: Duration,
    /// How many signatures at most, before the cache has KMS open the key anew.
    uses: u64,
}

/// What is measured.
enum What {
    Kind(&'static Kind),
    Key(Box<Key>),
}

struct Planned {
    what: What,
    generates: u64,
    decrypts: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<Answer, Failure> {
    let (desk, session) = arguments.access.open()?;
    let plan = plan(arguments, &desk, &session)?;
    let calls = plan.calls(&desk)?;
    agree(arguments, calls)?;

    let counters = desk.slot.token.kms().counters();
    let before = counters.get(Count::KmsCalls);
    let mut figures = Figures::default();
    let progress = Progress::of(plan.steps(), "measuring");
    for planned in &plan.subjects {
        let name = match &planned.what {
            What::Kind(kind) => kind.name.to_owned(),
            What::Key(key) => key.halves().next().map_or_else(String::new, |half| half.label()),
        };
        measure(&desk, &session, &plan, planned, &name, &mut figures, &progress)
            .map_err(|failure| failure.about(&name))?;
    }
    drop(progress);
    Ok(figures.answer(counters.get(Count::KmsCalls) - before))
}

fn plan(arguments: &Arguments, desk: &Desk, session: &Session) -> Result<Plan, Failure> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let many = arguments.threads.map_or(processors, usize::from);
    let cache = &desk.slot.token.config().cache;
    // A cache that keeps nothing has nothing to measure but first uses.
    let threads = match (cache.max_age.is_zero(), many) {
        (true, _) => vec![],
        (false, 1) => vec![1],
        (false, many) => vec![1, many],
    };
    // Each measurement begins with a key that was just opened.
    let decrypts = u64::from(arguments.decrypts).max(threads.len() as u64);
    let subjects = match &arguments.key {
        Some(name) => vec![Planned { what: What::Key(Box::new(Key::find(session, name)?)), generates: 0, decrypts }],
        None => {
            let kinds = arguments.kinds.iter().filter_map(|name| KINDS.iter().find(|kind| kind.name == name));
            let planned = |kind: &'static Kind| match subject::is_made_by_kms(kind) {
                true => Planned { what: What::Kind(kind), generates: u64::from(arguments.generates), decrypts },
                // The session holds it, and KMS never hears of it.
                false => Planned { what: What::Kind(kind), generates: 0, decrypts: 0 },
            };
            kinds.map(planned).collect()
        }
    };
    let time = Duration::from_secs(u64::from(arguments.seconds)).min(cache.max_age.mul_f32(0.8));
    Ok(Plan { subjects, uses: cache.max_uses.saturating_sub(1 + many as u64), threads, time })
}

impl Plan {
    fn steps(&self) -> u64 {
        self.subjects.iter().map(|one| one.generates + one.decrypts + self.threads.len() as u64).sum()
    }

    /// How many calls of KMS it will make.
    fn calls(&self, desk: &Desk) -> Result<u64, Failure> {
        // A token without PINs has its token key opened first.
        let token_key = u64::from(!desk.slot.token.login_required()?);
        Ok(self.subjects.iter().map(|one| one.generates + one.decrypts).sum::<u64>() + token_key)
    }
}

/// Says how many calls of KMS there will be, and asks if they are many, or if every signature is written down.
fn agree(arguments: &Arguments, calls: u64) -> Result<(), Failure> {
    let audit = config::load(&Environment::of_process(host::secure_mode()))?.log.audit;
    let many = calls > UNASKED;
    let audited = audit.as_ref().map(|log| format!("writes a line for each signature to {}", log.display()));
    let charged =
        format!("makes {} of KMS{}", counted(calls, "call"), if many { ", which charges for them" } else { "" });
    let what = [Some(charged), audited].into_iter().flatten().collect::<Vec<_>>().join(", and ");
    if arguments.yes || !(many || audit.is_some()) {
        eprintln!("this {what}");
        return Ok(());
    }
    match input::ask(&format!("This {what}. Go on? [y/N]"))?.as_deref() {
        Some("y" | "Y" | "yes") => Ok(()),
        Some(_) => Err(Failure::new("nothing was measured")),
        None => Err(Failure::new(format!(
            "this {what}; give --yes, or make fewer calls with --type, --decrypts, --generates"
        ))),
    }
}

/// Measures one kind of key, or one key.
fn measure(
    desk: &Desk,
    session: &Arc<Session>,
    plan: &Plan,
    planned: &Planned,
    name: &str,
    figures: &mut Figures,
    progress: &Progress,
) -> Result<(), Failure> {
    let counters = desk.slot.token.kms().counters();
    let subject = match &planned.what {
        What::Key(key) => Subject::of_key(session, key)?,
        What::Kind(kind) => {
            // All but the last make room for the next.
            for _ in 1..planned.generates {
                let spent = figures::timed(counters, || Subject::new(session, kind)?.destroy())?;
                figures.kms(Operation::GenerateDataKeyPair, spent.kms);
                progress.add(1);
            }
            let mut made = None;
            let spent = figures::timed(counters, || Subject::new(session, kind).map(|subject| made = Some(subject)))?;
            if planned.generates > 0 {
                figures.kms(Operation::GenerateDataKeyPair, spent.kms);
                progress.add(1);
            }
            made.ok_or_else(|| Failure::new("no key pair was made"))?
        }
    };
    let mut row = figures::Row::new(name, subject.mechanism_name());
    let mut opened = 0;
    let mut open = |figures: &mut Figures, row: &mut figures::Row| {
        subject.close();
        let spent = figures::timed(counters, || subject.sign(session))?;
        opened += 1;
        figures.kms(Operation::Decrypt, spent.kms);
        row.first_use(spent.all);
        progress.add(1);
        Ok::<_, Failure>(())
    };
    let has_to_be_opened = planned.decrypts > 0;
    for _ in (plan.threads.len() as u64)..planned.decrypts {
        open(figures, &mut row)?;
    }
    for threads in &plan.threads {
        if has_to_be_opened {
            open(figures, &mut row)?;
        }
        let uses = if has_to_be_opened { plan.uses } else { u64::MAX };
        row.signatures(*threads, subject.sign_for(desk, *threads, plan.time, uses)?);
        progress.add(1);
    }
    subject.destroy()?;
    figures.add(row);
    Ok(())
}
