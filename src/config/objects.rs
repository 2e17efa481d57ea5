//! Custom resources as pieces of one configuration, beside what a ConfigMap or a file says.
//!
//! A person edits one object at a time and sees that object only. So a problem costs the object it stands in and nothing else: its
//! last good version stays in force if there is one, otherwise it is left out; the rest goes on. Where objects contradict each
//! other (overlapping ranges, one name twice), what is in force stays, then the older one does; a ConfigMap or a file comes first.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::raw::Reading;
use super::texts::Texts;
use super::tree::Text;
use super::{Accepted, Problem, Problems, Source, accept, document};
use crate::facts::{Object, ObjectKey, Objects};

/// Objects that contradict others and are judged one by one, in case that the next is right once the one before is left out. It
/// bounds the work; whoever has more of them gets them all told at once.
const ONE_BY_ONE: usize = 10;

/// The configuration, and what is not in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gathered {
    /// All that is right.
    pub accepted: Accepted,
    /// The objects that are in it: of each the version of now, or the last good one.
    pub used: Objects,
    /// What is wrong with each object that is not in it as it is now.
    pub rejected: BTreeMap<ObjectKey, Problems>,
}

/// Puts `texts` and `objects` together. `in_force` are the objects of the configuration that is in force.
///
/// # Errors
/// What is wrong with `texts`; what is wrong with an object is in the result.
pub fn gather(texts: &Texts, objects: &Objects, in_force: &Objects) -> Result<Gathered, Problems> {
    let mut choice = Choice { now: objects, in_force, used: objects.clone(), rejected: BTreeMap::new() };
    for (key, object) in objects {
        let source = Arc::new(Source::object(key.to_string(), &object.text));
        let mut reading = Reading::default();
        document::read(Text::whole(&source), &mut reading);
        if !reading.problems.is_empty() {
            choice.reject(key, reading.problems);
        }
    }
    for round in 0.. {
        let Err(problems) = choice.read(texts, |key, object| {
            let unchanged = in_force.get(key).is_some_and(|before| before.text == object.text);
            (!unchanged, object.created.clone())
        }) else {
            break;
        };
        let blamed = choice.blamed(&problems, round < ONE_BY_ONE);
        if blamed.is_empty() {
            return Err(problems);
        }
        for (key, problems) in blamed {
            choice.reject(&key, problems);
        }
    }
    // The order means something (pools are tried in it), so it must not depend on what happened before.
    let accepted = choice.read(texts, |key, _| (key.name.clone(), key.namespace.clone()))?;
    Ok(Gathered { accepted, used: choice.used, rejected: choice.rejected })
}

struct Choice<'o> {
    now: &'o Objects,
    in_force: &'o Objects,
    used: Objects,
    rejected: BTreeMap<ObjectKey, Problems>,
}

impl Choice<'_> {
    /// The last good version instead of that of now, or nothing instead of the last good version.
    fn reject(&mut self, key: &ObjectKey, problems: Problems) {
        let is_now = |object: &Arc<Object>| self.now.get(key).is_some_and(|now| now.text == object.text);
        let before = self.in_force.get(key).filter(|before| !is_now(before));
        match before.filter(|_| self.used.get(key).is_some_and(is_now)) {
            Some(before) => drop(self.used.insert(key.clone(), before.clone())),
            None => drop(self.used.remove(key)),
        }
        self.rejected.entry(key.clone()).or_insert(problems);
    }

    /// Everything that is chosen, the objects in the order that `rank` gives them.
    fn read<R: Ord>(&self, texts: &Texts, rank: impl Fn(&ObjectKey, &Object) -> R) -> Result<Accepted, Problems> {
        let mut reading = Reading::default();
        let mut sources = texts.read(&mut reading);
        // An advertisement that cannot be read still says that not everything is to be announced everywhere.
        let is_left_out = |key: &ObjectKey| key.kind.ends_with("Advertisement") && !self.used.contains_key(key);
        reading.raw.advertisement_left_out = self.rejected.keys().any(is_left_out);
        let mut objects: Vec<(&ObjectKey, &Arc<Object>)> = self.used.iter().collect();
        objects.sort_by_cached_key(|(key, object)| (rank(key, object), *key));
        for (key, object) in objects {
            let source = Arc::new(Source::object(key.to_string(), &object.text));
            document::read(Text::whole(&source), &mut reading);
            sources.push(source);
        }
        accept(reading, &sources)
    }

    /// The objects that problems stand in, with these; only the first one if `one`.
    fn blamed(&self, problems: &Problems, one: bool) -> BTreeMap<ObjectKey, Problems> {
        let keys: BTreeMap<String, &ObjectKey> = self.used.keys().map(|key| (key.to_string(), key)).collect();
        let key = |problem: &Problem| keys.get(&problem.place.source.name).filter(|_| problem.place.source.is_object);
        let mut blamed: BTreeMap<ObjectKey, Problems> = BTreeMap::new();
        for problem in problems {
            let Some(key) = key(problem) else { continue };
            if !one || blamed.is_empty() || blamed.contains_key(*key) {
                blamed.entry((*key).clone()).or_default().push(problem.clone());
            }
        }
        blamed
    }
}
