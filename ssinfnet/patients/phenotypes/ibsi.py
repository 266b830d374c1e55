"""Names and codes of the Image Biomarker Standardisation Initiative, beside PyRadiomics' names.

Zwanenburg et al. (2020), Radiology 295:328, and the reference manual (arXiv:1612.07003). A code is
permanent; the tag is how the initiative's files of reference values write a feature. PyRadiomics
computes each of these as the initiative defines it, but for kurtosis: IBSI's is excess, 0 for a
normal distribution, and PyRadiomics' is not, 3 for a normal distribution.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CODES", "EXCESS", "Code", "name_and_code", "reference_value"]

EXCESS = 3.0  # what kurtosis is above IBSI's


class Code(NamedTuple):
    """What the initiative calls a feature."""

    code: str
    tag: str
    name: str


def _family(family: str, *rows: tuple[str, str, str, str]) -> dict[tuple[str, str], Code]:
    return {(family, name): Code(code, tag, written) for name, code, tag, written in rows}


CODES: dict[tuple[str, str], Code] = {
    **_family(
        "firstorder",
        ("Energy", "N8CA", "stat_energy", "Energy"),
        ("Entropy", "TLU2", "ih_entropy", "Discretised intensity entropy"),
        ("Minimum", "1GSF", "stat_min", "Minimum intensity"),
        ("10Percentile", "QG58", "stat_p10", "10th intensity percentile"),
        ("90Percentile", "8DWT", "stat_p90", "90th intensity percentile"),
        ("Maximum", "84IY", "stat_max", "Maximum intensity"),
        ("Mean", "Q4LE", "stat_mean", "Mean intensity"),
        ("Median", "Y12H", "stat_median", "Median intensity"),
        ("InterquartileRange", "SALO", "stat_iqr", "Intensity interquartile range"),
        ("Range", "2OJQ", "stat_range", "Intensity range"),
        ("MeanAbsoluteDeviation", "4FUA", "stat_mad", "Intensity mean absolute deviation"),
        ("RobustMeanAbsoluteDeviation", "1128", "stat_rmad",
         "Intensity robust mean absolute deviation"),
        ("RootMeanSquared", "5ZWQ", "stat_rms", "Root mean square intensity"),
        ("Skewness", "KE2A", "stat_skew", "Intensity skewness"),
        ("Kurtosis", "IPH6", "stat_kurt", "Excess intensity kurtosis"),
        ("Variance", "ECT3", "stat_var", "Intensity variance"),
        ("Uniformity", "BJ5W", "ih_uniformity", "Discretised intensity uniformity"),
    ),
    **_family(
        "glcm",
        ("Autocorrelation", "QWB0", "cm_auto_corr", "Autocorrelation"),
        ("JointAverage", "60VM", "cm_joint_avg", "Joint average"),
        ("ClusterProminence", "AE86", "cm_clust_prom", "Cluster prominence"),
        ("ClusterShade", "7NFM", "cm_clust_shade", "Cluster shade"),
        ("ClusterTendency", "DG8W", "cm_clust_tend", "Cluster tendency"),
        ("Contrast", "ACUI", "cm_contrast", "Contrast"),
        ("Correlation", "NI2N", "cm_corr", "Correlation"),
        ("DifferenceAverage", "TF7R", "cm_diff_avg", "Difference average"),
        ("DifferenceEntropy", "NTRS", "cm_diff_entr", "Difference entropy"),
        ("DifferenceVariance", "D3YU", "cm_diff_var", "Difference variance"),
        ("Dissimilarity", "8S9J", "cm_dissimilarity", "Dissimilarity"),
        ("JointEnergy", "8ZQL", "cm_energy", "Angular second moment"),
        ("JointEntropy", "TU9B", "cm_joint_entr", "Joint entropy"),
        ("Homogeneity1", "IB1Z", "cm_inv_diff", "Inverse difference"),
        ("Homogeneity2", "WF0Z", "cm_inv_diff_mom", "Inverse difference moment"),
        ("Imc1", "R8DG", "cm_info_corr1", "First measure of information correlation"),
        ("Imc2", "JN9H", "cm_info_corr2", "Second measure of information correlation"),
        ("Idm", "WF0Z", "cm_inv_diff_mom", "Inverse difference moment"),
        ("Idmn", "1QCO", "cm_inv_diff_mom_norm", "Normalised inverse difference moment"),
        ("Id", "IB1Z", "cm_inv_diff", "Inverse difference"),
        ("Idn", "NDRX", "cm_inv_diff_norm", "Normalised inverse difference"),
        ("InverseVariance", "E8JP", "cm_inv_var", "Inverse variance"),
        ("MaximumProbability", "GYBY", "cm_joint_max", "Joint maximum"),
        ("SumAverage", "ZGXS", "cm_sum_avg", "Sum average"),
        ("SumVariance", "OEEB", "cm_sum_var", "Sum variance"),
        ("SumEntropy", "P6QZ", "cm_sum_entr", "Sum entropy"),
        ("SumSquares", "UR99", "cm_joint_var", "Joint variance"),
    ),
    **_family(
        "gldm",
        ("SmallDependenceEmphasis", "SODN", "ngl_lde", "Low dependence emphasis"),
        ("LargeDependenceEmphasis", "IMOQ", "ngl_hde", "High dependence emphasis"),
        ("GrayLevelNonUniformity", "FP8K", "ngl_glnu", "Grey level non-uniformity"),
        ("GrayLevelNonUniformityNormalized", "5SPA", "ngl_glnu_norm",
         "Normalised grey level non-uniformity"),
        ("DependenceNonUniformity", "Z87G", "ngl_dcnu", "Dependence count non-uniformity"),
        ("DependenceNonUniformityNormalized", "OKJI", "ngl_dcnu_norm",
         "Normalised dependence count non-uniformity"),
        ("GrayLevelVariance", "1PFV", "ngl_gl_var", "Grey level variance"),
        ("DependenceVariance", "DNX2", "ngl_dc_var", "Dependence count variance"),
        ("DependenceEntropy", "FCBV", "ngl_dc_entr", "Dependence count entropy"),
        ("LowGrayLevelEmphasis", "TL9H", "ngl_lgce", "Low grey level count emphasis"),
        ("HighGrayLevelEmphasis", "OAE7", "ngl_hgce", "High grey level count emphasis"),
        ("SmallDependenceLowGrayLevelEmphasis", "EQ3F", "ngl_ldlge",
         "Low dependence low grey level emphasis"),
        ("SmallDependenceHighGrayLevelEmphasis", "JA6D", "ngl_ldhge",
         "Low dependence high grey level emphasis"),
        ("LargeDependenceLowGrayLevelEmphasis", "NBZI", "ngl_hdlge",
         "High dependence low grey level emphasis"),
        ("LargeDependenceHighGrayLevelEmphasis", "9QMG", "ngl_hdhge",
         "High dependence high grey level emphasis"),
    ),
    **_family(
        "ngtdm",
        ("Coarseness", "QCDE", "ngt_coarseness", "Coarseness"),
        ("Contrast", "65HE", "ngt_contrast", "Contrast"),
        ("Busyness", "NQ30", "ngt_busyness", "Busyness"),
        ("Complexity", "HDEZ", "ngt_complexity", "Complexity"),
        ("Strength", "1X9X", "ngt_strength", "Strength"),
    ),
    **_family(
        "glrlm",
        ("ShortRunEmphasis", "22OV", "rlm_sre", "Short runs emphasis"),
        ("LongRunEmphasis", "W4KF", "rlm_lre", "Long runs emphasis"),
        ("GrayLevelNonUniformity", "R5YN", "rlm_glnu", "Grey level non-uniformity"),
        ("GrayLevelNonUniformityNormalized", "OVBL", "rlm_glnu_norm",
         "Normalised grey level non-uniformity"),
        ("RunLengthNonUniformity", "W92Y", "rlm_rlnu", "Run length non-uniformity"),
        ("RunLengthNonUniformityNormalized", "IC23", "rlm_rlnu_norm",
         "Normalised run length non-uniformity"),
        ("RunPercentage", "9ZK5", "rlm_r_perc", "Run percentage"),
        ("GrayLevelVariance", "8CE5", "rlm_gl_var", "Grey level variance"),
        ("RunVariance", "SXLW", "rlm_rl_var", "Run length variance"),
        ("RunEntropy", "HJ9O", "rlm_rl_entr", "Run entropy"),
        ("LowGrayLevelRunEmphasis", "V3SW", "rlm_lgre", "Low grey level run emphasis"),
        ("HighGrayLevelRunEmphasis", "G3QZ", "rlm_hgre", "High grey level run emphasis"),
        ("ShortRunLowGrayLevelEmphasis", "HTZT", "rlm_srlge",
         "Short run low grey level emphasis"),
        ("ShortRunHighGrayLevelEmphasis", "GD3A", "rlm_srhge",
         "Short run high grey level emphasis"),
        ("LongRunLowGrayLevelEmphasis", "IVPO", "rlm_lrlge", "Long run low grey level emphasis"),
        ("LongRunHighGrayLevelEmphasis", "3KUM", "rlm_lrhge", "Long run high grey level emphasis"),
    ),
    **_family(
        "glszm",
        ("SmallAreaEmphasis", "5QRC", "szm_sze", "Small zone emphasis"),
        ("LargeAreaEmphasis", "48P8", "szm_lze", "Large zone emphasis"),
        ("GrayLevelNonUniformity", "JNSA", "szm_glnu", "Grey level non-uniformity"),
        ("GrayLevelNonUniformityNormalized", "Y1RO", "szm_glnu_norm",
         "Normalised grey level non-uniformity"),
        ("SizeZoneNonUniformity", "4JP3", "szm_zsnu", "Zone size non-uniformity"),
        ("SizeZoneNonUniformityNormalized", "VB3A", "szm_zsnu_norm",
         "Normalised zone size non-uniformity"),
        ("ZonePercentage", "P30P", "szm_z_perc", "Zone percentage"),
        ("GrayLevelVariance", "BYLV", "szm_gl_var", "Grey level variance"),
        ("ZoneVariance", "3NSA", "szm_zs_var", "Zone size variance"),
        ("ZoneEntropy", "GU8N", "szm_zs_entr", "Zone size entropy"),
        ("LowGrayLevelZoneEmphasis", "XMSY", "szm_lgze", "Low grey level zone emphasis"),
        ("HighGrayLevelZoneEmphasis", "5GN9", "szm_hgze", "High grey level zone emphasis"),
        ("SmallAreaLowGrayLevelEmphasis", "5RAI", "szm_szlge",
         "Small zone low grey level emphasis"),
        ("SmallAreaHighGrayLevelEmphasis", "HW1V", "szm_szhge",
         "Small zone high grey level emphasis"),
        ("LargeAreaLowGrayLevelEmphasis", "YH51", "szm_lzlge",
         "Large zone low grey level emphasis"),
        ("LargeAreaHighGrayLevelEmphasis", "J17V", "szm_lzhge",
         "Large zone high grey level emphasis"),
    ),
    **_family(
        "shape",
        ("MeshVolume", "RNU0", "morph_volume", "Volume (mesh)"),
        ("VoxelVolume", "YEKZ", "morph_vol_approx", "Volume (voxel counting)"),
        ("SurfaceArea", "C0JK", "morph_area_mesh", "Surface area (mesh)"),
        ("SurfaceVolumeRatio", "2PR5", "morph_av", "Surface to volume ratio"),
        ("Sphericity", "QCFX", "morph_sphericity", "Sphericity"),
        ("Maximum3DDiameter", "L0JK", "morph_diam", "Maximum 3D diameter"),
        ("MajorAxisLength", "TDIC", "morph_pca_maj_axis", "Major axis length"),
        ("MinorAxisLength", "P9VJ", "morph_pca_min_axis", "Minor axis length"),
        ("LeastAxisLength", "7J51", "morph_pca_least_axis", "Least axis length"),
        ("Elongation", "Q3CK", "morph_pca_elongation", "Elongation"),
        ("Flatness", "N17B", "morph_pca_flatness", "Flatness"),
    ),
}  # fmt: skip


def name_and_code(key: tuple[str, str]) -> str:
    """Return the initiative's name and code of a feature, or that it has none."""
    code = CODES.get(key)
    if code is None:
        return "none"
    beside = "; ours minus 3" if key == ("firstorder", "Kurtosis") else ""
    return f"{code.name} ({code.code}){beside}"


def reference_value(key: tuple[str, str], value: float) -> float:
    """Return a feature's value as the initiative defines it: kurtosis as excess."""
    return value - EXCESS if key == ("firstorder", "Kurtosis") else value
