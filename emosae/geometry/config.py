"""What a study of the emotion space is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from emosae.errors import UserError, unknown_name
from emosae.geometry.measures import Comparator, Dissimilarity, ResidualNull

__all__ = ["GeometryConfig"]


@dataclass(kw_only=True, slots=True)
class GeometryConfig:
    """Measures, numbers of permutations and bootstrap samples, and the seed of both."""

    dissimilarity: str = Dissimilarity.CORRELATION
    """Between the feature vectors of two concepts: correlation, cosine or euclidean."""

    comparators: list[str] = field(default_factory=lambda: [Comparator.RHO_A, Comparator.SPEARMAN])
    """Between two RDMs: rho-a, spearman, tau-a, pearson. The first one is the headline."""

    residuals: str = ResidualNull.PERMUTATION
    """Null of the test beyond valence: permutation (conservative) or rotation of the residuals."""

    n_permutations: int = 10_000
    """Label permutations; where all orders of the concepts are fewer, each is taken once."""

    n_bootstrap: int = 2_000
    """Bootstrap samples of the concepts; 0 leaves the intervals out."""

    confidence: float = 0.95
    """Coverage of the intervals."""

    n_random: int = 50
    """Random sets of features, as many as the emotion space has, that it is compared with; 0 for none."""

    n_axes: int = 3
    """Axes of MDS and PCA that are related to valence and arousal and written out."""

    n_aligned: int = 2
    """Leading MDS axes that Procrustes aligns and tests; the axes of the emotion map."""

    n_rater_simulations: int = 1_000
    """Simulated groups of raters with one truth, against which single raters are held; 0 for none."""

    compare: list[str] = field(default_factory=list)
    """Folders of earlier runs, of other models, whose spaces this one is compared with."""

    cebra: bool = False
    """Fit CEBRA latents to the main spaces, beside shuffled labels; needs the extra `emosae[cebra]`."""

    cebra_dimensions: int = 3
    """Dimensions of the latent space."""

    cebra_iterations: int = 1_000
    """Steps of each CEBRA fit."""

    cebra_shuffles: int = 19
    """Fits to shuffled labels that stand beside the true one."""

    min_concepts_interval: int = 6
    """With fewer concepts no interval is given: the bootstrap means nothing there."""

    seed: int = 0
    """Seed of permutations and bootstrap samples."""

    def __post_init__(self) -> None:
        if self.dissimilarity not in list(Dissimilarity):
            raise unknown_name("dissimilarity", self.dissimilarity, list(Dissimilarity))
        self.dissimilarity = Dissimilarity(self.dissimilarity)
        if not self.comparators:
            raise UserError("geometry.comparators must hold at least one, got []. The default is [rho-a].")
        if self.residuals not in list(ResidualNull):
            raise unknown_name("null for geometry.residuals", self.residuals, list(ResidualNull))
        self.residuals = ResidualNull(self.residuals)
        for comparator in self.comparators:
            if comparator not in list(Comparator):
                raise unknown_name("comparator", comparator, list(Comparator))
        self.comparators = [Comparator(comparator) for comparator in dict.fromkeys(self.comparators)]
        default = {one.name: one.default for one in fields(self)}
        for name, least in (
            ("n_permutations", 1),
            ("n_bootstrap", 0),
            ("n_random", 0),
            ("n_axes", 1),
            ("n_aligned", 1),
            ("n_rater_simulations", 0),
            ("cebra_dimensions", 2),
            ("cebra_iterations", 1),
            ("cebra_shuffles", 1),
            ("min_concepts_interval", 3),
            ("seed", 0),
        ):
            if getattr(self, name) < least:
                raise UserError(
                    f"geometry.{name} must be at least {least}, got {getattr(self, name)!r}. "
                    f"The default is {default[name]}."
                )
        if not 0 < self.confidence < 1:
            raise UserError(
                f"geometry.confidence must be above 0 and below 1, got {self.confidence!r}. "
                "The default is 0.95."
            )
