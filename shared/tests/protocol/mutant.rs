//! The mutants: each is the protocol with exactly one decision taken wrongly.

/// One wrong decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mutant {
    /// A filler observes the stamps when it stores, not before it asks the origin.
    StampsAfterOrigin,
    /// Whoever needs a load joins the one that runs, whatever that began under.
    JoinsOlderLoad,
    /// The same, and the answer is stored by the latest permit aboard.
    StoresOlderLoad,
    /// A load is joined without looking whether the tidemark covers what the request demands.
    JoinsUncovered,
    /// A load is joined if it began under the same stamps, in whatever epoch.
    JoinsOtherEpoch,
    /// A missing stamp reads as zero, and so equals a missing one.
    MissingIsZero,
    /// An answer of another catalog is stored like any other.
    StoresAnyCatalog,
    /// The relay takes the rows beyond the last id it took, not all visible ones.
    OutboxByLastId,
    /// The relay reads `as_of` after it has taken the rows.
    AsOfAfterSnapshot,
    /// The relay deletes the rows before their scopes are stamped.
    RowsDeletedFirst,
    /// The relay writes the tidemark, and the stamps in a second step.
    TidemarkFirst,
    /// The relay writes the stamps, and the tidemark in a second step.
    TwoSteps,
    /// The relay writes over whatever is there.
    BlindWrites,
    /// The relay writes over any tidemark of no later term.
    TermsOnly,
    /// The relay goes on in the recorded epoch, whatever it finds.
    NoNewEpoch,
    /// The relay goes on without looking whether rows have been settled since.
    IgnoresLastChange,
    /// The relay compares with the last change of when it looked, not of when it goes on.
    EarlyLastChange,
    /// The relay gives the number of an event in doubt to the next one.
    ReusedNumber,
    /// The cache manager applies an event whether or not it has applied the one before.
    IgnoresGaps,
    /// The cache manager writes over whatever is there.
    ManagerWritesBlindly,
}
