//! Numbers of events, by what expressions give for them: the twin of `logflow.engine._python.tally`.

use crate::error::Error;
use crate::expressions::{Event, Program, Surroundings};
use crate::groups::Index;
use crate::out::Out;

/// What is counted; expressions are named by their numbers in the program.
pub struct Measure {
    pub condition: Option<usize>,
    pub value: Option<usize>,
    pub labels: Vec<usize>,
    /// Upper bounds, increasing.
    pub bounds: Vec<f64>,
    /// Whether values below 0 count.
    pub signed: bool,
}

/// What was found for one group of labels; see `logflow.engine.keyed.Series`.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub events: u64,
    pub sum: f64,
    pub last: f64,
    /// Events in each interval between bounds, beginning below the first.
    pub buckets: Vec<u64>,
}

#[derive(Debug, Default)]
pub struct Tallied {
    pub keys: Vec<Vec<u8>>,
    pub series: Vec<Series>,
    pub skipped: u64,
}

/// See `logflow.engine.keyed.Tally`.
pub struct Tally {
    pub program: Program,
    pub measures: Vec<Measure>,
}

impl Tally {
    pub fn apply<'a>(&'a self, data: &'a [u8], around: Surroundings<'a>) -> Result<Vec<Tallied>, Error> {
        let mut found: Vec<Tallied> = self.measures.iter().map(|_| Tallied::default()).collect();
        let mut indexes: Vec<Index> = self.measures.iter().map(|_| Index::default()).collect();
        let mut key = Out::default();
        self.program.each_event(data, around, |event, _, _| {
            for ((measure, tallied), index) in self.measures.iter().zip(&mut found).zip(&mut indexes) {
                self.count(measure, event, tallied, index, &mut key);
            }
        })?;
        Ok(found)
    }

    #[inline]
    fn count<'a>(
        &'a self, measure: &Measure, event: &mut Event<'a>, tallied: &mut Tallied, index: &mut Index,
        key: &mut Out,
    ) {
        if let Some(condition) = measure.condition
            && !self.program.evaluate_one(condition, event).is_true()
        {
            return;
        }
        let value = match measure.value {
            None => 1.0,
            Some(value) => match self.program.evaluate_one(value, event).number() {
                Some(number) if number.float().is_finite() && (measure.signed || number.float() >= 0.0) => {
                    number.float()
                }
                _ => {
                    tallied.skipped += 1;
                    return;
                }
            },
        };
        key.truncate(0);
        key.array_head(measure.labels.len());
        measure.labels.iter().for_each(|&label| self.program.pack_one(label, event, key));
        let id = index.find(key.as_slice(), &mut tallied.keys);
        if id == tallied.series.len() {
            let buckets = if measure.bounds.is_empty() { 0 } else { measure.bounds.len() + 1 };
            tallied.series.push(Series { events: 0, sum: 0.0, last: 0.0, buckets: vec![0; buckets] });
        }
        let series = &mut tallied.series[id];
        series.events += 1;
        series.sum += value;
        series.last = value;
        if !measure.bounds.is_empty() {
            series.buckets[measure.bounds.partition_point(|bound| *bound < value)] += 1;
        }
    }
}
