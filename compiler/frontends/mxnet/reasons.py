"""Why operators of MXNet's registry have no converter, by family."""

from __future__ import annotations

import re

_TRAINING = "it belongs to training, not to inference"
_RANDOM = "it draws random numbers, so a compiled network would not repeat MXNet's results"
_AUGMENT = "it reads or augments images, which is done before the network"
_DATA = "the shape of its result depends on data"
_FACTOR = "decompositions of matrices have no form in the device's or the host's operators"
_FUSED = "it is MKL-DNN's fused form for CPUs: export the network without the MKLDNN backend"
_EIGHT_BITS = "it computes with 8-bit integers: compile the network it was quantised from, with --auto-cast as needed"
#: Said of what is in no family.
NO_CONVERTER = "there is no converter for it"
_USER = "it runs the user's own Python code"

#: reason -> operators of families that inference could meet.
_NAMED: dict[str, str] = {
    _FUSED: "_sg_mkldnn_selfatt_qk _sg_mkldnn_selfatt_valatt",
    _USER: "Custom _npi_Custom _CustomFunction _NDArray _Native _CachedOp _CachedOpThreadSafe _NoGradient",
    _DATA: "_contrib_boolean_mask _npi_boolean_mask _npi_nonzero _npx_nonzero _npi_unique _npi_bincount "
           "_npi_delete _contrib_getnnz _contrib_edge_id _sparse_retain",
    _FACTOR: "_linalg_det linalg_det _linalg_gelqf linalg_gelqf _linalg_inverse linalg_inverse _linalg_potrf "
             "linalg_potrf _linalg_potri linalg_potri _linalg_slogdet linalg_slogdet _linalg_syevd _linalg_trsm "
             "linalg_trsm _npi_cholesky _npi_det _npi_eig _npi_eigh _npi_eigvals _npi_eigvalsh _npi_inv _npi_pinv "
             "_npi_pinv_scalar_rcond _npi_slogdet _npi_solve _npi_svd _npi_tensorinv _npi_tensorsolve",
    "its special function has no form in ONNX's operators":
        "erfinv _npi_erfinv _npx_erfinv gamma gammaln _sparse_gamma _sparse_gammaln _npx_gamma _npx_gammaln",
    _EIGHT_BITS:
        "_contrib_dequantize _contrib_quantize _contrib_quantize_asym _contrib_quantize_v2 _contrib_quantized_act "
        "_contrib_quantized_batch_norm _contrib_quantized_concat _contrib_quantized_conv "
        "_contrib_quantized_elemwise_add _contrib_quantized_elemwise_mul _contrib_quantized_embedding "
        "_contrib_quantized_flatten _contrib_quantized_fully_connected _contrib_quantized_pooling "
        "_contrib_quantized_rnn _contrib_requantize",
    "it is of the numpy interface's functions that networks have no use for":
        "_npi_boolean_mask_assign_scalar _npi_boolean_mask_assign_tensor _npi_copyto _npi_diag_indices_from "
        "_npi_insert_scalar _npi_insert_slice _npi_insert_tensor _npi_lcm _npi_lcm_scalar _npi_percentile _npi_polyval "
        "_npi_powerd _npi_where_scalar2 _npi_ediff1d _npi_indices _npi_rot90 _np_diagflat",
    "no form of it in ONNX's operators equals MXNet's":
        "Correlation _contrib_PSROIPooling _contrib_DeformablePSROIPooling _contrib_RROIAlign _contrib_count_sketch "
        "_contrib_fft _contrib_ifft _contrib_hawkesll",
}
_PATTERNS: tuple[tuple[str, str], ...] = (
    (r"_sg_mkldnn_.*", _FUSED),
    (r".*backward.*|.*_update.*|.*_backward", _TRAINING),
    (r"multi_(lars|sum_sq|all_finite)|all_finite|reset_arrays|_contrib_(MultiBoxTarget|box_encode|bipartite_matching"
     r"|calibrate_entropy)|_npx_multibox_target|CTCLoss|ctc_loss|_contrib_(CTCLoss|ctc_loss)|_contrib_allclose"
     r"|_scatter_.*|_set_value|_npi_share_memory|_histogram|_npi_histogram", _TRAINING),
    (r"_?(random|sample)_.*|.*random.*|normal|uniform|shuffle|_shuffle|_npi_(uniform|normal|gamma|choice|bernoulli"
     r"|exponential|gumbel|logistic|multinomial|pareto|rayleigh|weibull|shuffle|uniform_n|normal_n)", _RANDOM),
    (r".*image.*|_cv.*|_npi_cv.*|_imdecode", _AUGMENT),
    (r"_contrib_dgl_.*", "it samples graphs, which is done before the network"),
)


def named() -> dict[str, str]:
    """Reason by operator, for those a network at inference could have."""
    return {name: reason for reason, names in _NAMED.items() for name in names.split()}


def reason(op: str) -> str:
    """Why there is no converter for an operator."""
    known = named()
    if op in known:
        return known[op]
    for pattern, text in _PATTERNS:
        if re.fullmatch(pattern, op):
            return text
    return NO_CONVERTER
