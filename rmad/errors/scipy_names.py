"""Functions of SciPy that take plain arrays only, and what to write in their place."""

from __future__ import annotations

__all__ = ["INSTEAD", "WITH_THE_VARIABLE"]

_SOLVED = "rmad.implicit, for roots, fixed points and minima that any code finds"

# Per module of SciPy: what to write, and the functions in whose place. {} is the function's own name.
INSTEAD: dict[str, dict[str, str]] = {
    "special": {
        "rmad.{}": "log_softmax logsumexp multigammaln polygamma softmax",
        "scipy.special.gamma(n + 1)": "factorial",
        "scipy.special.binom": "comb",
        "scipy.special.poch(n - k + 1, k)": "perm",
        "np.sin(n * x / 2) / (n * np.sin(x / 2))": "diric",
    },
    "linalg": {
        "rmad.linalg.{}": """block_diag cho_factor cho_solve expm logm lu_factor lu_solve null_space solve_sylvester
            solve_triangular sqrtm toeplitz""",
        "numpy.linalg.{}": "det eig eigh eigvals eigvalsh inv lstsq norm pinv qr solve svd",
        "numpy.linalg.cholesky, whose factor is the lower one": "cholesky",
        "numpy.linalg.svd(A, compute_uv=False)": "svdvals",
        "numpy.linalg.svd": "orth orthogonal_procrustes polar subspace_angles",
        "numpy.linalg.qr": "qr_insert qr_multiply qr_update rq",
        "numpy.linalg.eigh of the whole matrix": """eig_banded eigh_tridiagonal eigvals_banded eigvalsh_tridiagonal
            pinvh""",
        "numpy.linalg.eigh or eig, and f of the eigenvalues": "funm signm schur rsf2csf",
        "numpy.linalg.cholesky of the whole matrix": "cholesky_banded ldl",
        "rmad.linalg.expm of A and -A, or of 1j * A": "coshm cosm sinhm sinm tanhm tanm",
        "rmad.linalg.lu_factor": "lu",
        "rmad.linalg.cho_solve of the whole matrix": "cho_solve_banded",
        "rmad.linalg.solve_sylvester": "solve_continuous_lyapunov solve_lyapunov",
        "numpy.linalg.solve of np.kron products": "solve_discrete_lyapunov",
        "rmad.implicit of the equation that it solves": "solve_continuous_are solve_discrete_are",
        "numpy.einsum": "khatri_rao",
        "numpy.linalg.matrix_power": "fractional_matrix_power",
        "rmad.linalg.toeplitz": "circulant convolution_matrix hankel matmul_toeplitz",
        "rmad.linalg.solve_triangular or numpy.linalg.solve": "solve_banded solveh_banded solve_toeplitz",
    },
    "stats": {
        "rmad.stats.{}": """bernoulli beta binom cauchy chi2 dirichlet expon f gamma geom gumbel_r invgamma laplace
            logistic lognorm multivariate_normal multivariate_t nbinom norm pareto poisson t uniform weibull_min
            wishart""",
        "a function of NumPy, such as (x - np.mean(x)) / np.std(x)": "zscore",
        "numpy.corrcoef": "pearsonr",
        "powers of x - np.mean(x)": "skew kurtosis moment",
        "np.exp(np.mean(np.log(x)))": "gmean",
        "1 / np.mean(1 / x)": "hmean",
        "np.mean of rmad.stats.norm.pdf(x, data[:, None], width)": "gaussian_kde",
        "np.std(x, ddof=1) / np.sqrt(len(x))": "sem",
        "scipy.special.boxcox": "boxcox",
        "numpy.polyfit": "linregress",
        "numpy.quantile": "iqr quantile scoreatpercentile",
        "np.abs of the difference of sorted samples": "energy_distance wasserstein_distance",
        "the difference of means over its standard error, in NumPy": "ttest_1samp ttest_ind ttest_rel",
        "-np.sum(p * np.log(p))": "entropy",
        "rmad.stats.norm": "Normal",
        "rmad.stop_gradient(x): its result is made of ranks or counts, which have no derivative": """binned_statistic
            chi2_contingency ecdf kendalltau ks_1samp ks_2samp kstest mannwhitneyu mode rankdata spearmanr wilcoxon""",
        "rmad.implicit of what is zero or smallest there": """boxcox_normmax expectile fit ppcc_max
            yeojohnson_normmax""",
    },
    "integrate": {
        "numpy.trapezoid": "trapezoid",
        "np.sum(weights * y), weights from a call with unit vectors": "simpson romb newton_cotes",
        "np.cumsum of (y[1:] + y[:-1]) / 2 * np.diff(x)": "cumulative_trapezoid cumulative_simpson",
        "rmad.quad": "quad tanhsinh",
        "rmad.implicit of the equations of a collocation": "solve_bvp",
        "a fixed rule, nodes, weights = np.polynomial.legendre.leggauss(n)": """quad_vec dblquad tplquad nquad
            fixed_quad""",
        "rmad.solve_ivp": "solve_ivp odeint ode RK23 RK45 DOP853 Radau BDF LSODA",
    },
    "interpolate": {
        "numpy.interp, or rmad.make_interp_spline for its other kinds": "interp1d",
        "rmad.{}": "Akima1DInterpolator CubicHermiteSpline CubicSpline PchipInterpolator make_interp_spline",
        "rmad.make_interp_spline": "InterpolatedUnivariateSpline splrep",
        "BSpline.design_matrix(x, t, k) @ c for traced c, rmad.make_interp_spline for traced x": "BSpline splev",
        "rmad.linear(f, transpose) of its values, in which it is linear, rmad.primitive(f, rule) of points": """
            barycentric_interpolate griddata LinearNDInterpolator RegularGridInterpolator interpn
            RBFInterpolator RectBivariateSpline UnivariateSpline""",
    },
    "signal": {
        "numpy.{}": "convolve correlate",
        "numpy.convolve, or a product of numpy.fft.rfft": "fftconvolve oaconvolve",
        "sums of shifted slices x[i:…, j:…]": "convolve2d correlate2d",
        "x minus a line fitted by np.linalg.lstsq": "detrend",
        "np.polyval(b, s) / np.polyval(a, s) at s = 1j * w": "TransferFunction bode freqresp freqs",
        "rmad.linalg.expm of the matrix, and A @ x + B @ u in a loop": """StateSpace cont2discrete dlsim impulse lsim
            step""",
        "np.sin or np.cos of its phase": "chirp",
        "np.median of shifted slices": "medfilt medfilt2d order_filter",
        "places = find_peaks(rmad.stop_gradient(x))[0], and x[places]": "find_peaks find_peaks_cwt",
        "numpy.fft.rfft of slices times a window": "welch periodogram csd spectrogram stft",
        "rmad.linear(f, transpose) of the filter, which is linear in the array": """cspline1d czt decimate
            filtfilt hilbert hilbert2 istft lfilter lfiltic qspline1d resample resample_poly savgol_filter sepfir2d
            sosfilt sosfiltfilt symiirorder1 symiirorder2 upfirdn zoom_fft""",
    },
    "ndimage": {
        "rmad.linear(f, transpose) of the filter, which is linear in the array": """fourier_ellipsoid
            fourier_gaussian fourier_shift fourier_uniform gaussian_filter gaussian_filter1d spline_filter
            spline_filter1d convolve convolve1d correlate correlate1d uniform_filter uniform_filter1d sobel prewitt
            laplace gaussian_laplace shift zoom rotate affine_transform""",
        "rmad.linear(f, transpose) of the image, in which it is linear, rmad.primitive(f, rule) of coordinates": """
            geometric_transform map_coordinates""",
        "np.sort or np.median of shifted slices": "median_filter percentile_filter rank_filter",
        "np.maximum or np.minimum of shifted slices": """black_tophat grey_closing grey_dilation grey_erosion
            grey_opening maximum_filter maximum_filter1d minimum_filter minimum_filter1d morphological_gradient
            morphological_laplace white_tophat""",
        "functions of NumPy of x[labels == k]": """center_of_mass extrema labeled_comprehension maximum mean median
            minimum standard_deviation sum sum_labels variance""",
    },
    "fft": {
        "numpy.fft.{}": """fft fft2 fftn fftshift hfft ifft ifft2 ifftn ifftshift ihfft irfft irfft2 irfftn rfft rfft2
            rfftn""",
        "rmad.linear(f, transpose) of the transform, which is linear": "dct dctn idct idctn dst dstn idst idstn",
    },
    "spatial.distance": {
        "np.linalg.norm(x[:, None] - y, axis=-1), or np.sum of its square": "cdist pdist",
        "np.linalg.norm(x - y)": "euclidean",
        "np.sum((x - y) ** 2)": "sqeuclidean",
        "its formula in NumPy, such as np.sum(np.abs(x - y))": """braycurtis canberra chebyshev cityblock correlation
            cosine jensenshannon mahalanobis minkowski seuclidean""",
    },
    "spatial": {
        "np.sum(np.abs(x[:, None] - y) ** p, axis=-1) ** (1 / p)": """distance_matrix minkowski_distance
            minkowski_distance_p""",
        "numpy.linalg.svd": "procrustes",
        "rmad.stop_gradient(x) for the indices that it finds, and x[indices]": """cKDTree ConvexHull Delaunay KDTree
            Voronoi""",
    },
    "spatial.transform": {
        "its formula in NumPy, such as np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])": "Rotation Slerp"
    },
    "fftpack": {"numpy.fft.{}": "fft fft2 fftn ifft ifft2 ifftn"},
    "cluster.vq": {"rmad.stop_gradient(x) for the labels, and means of x[labels == k]": "kmeans kmeans2 vq"},
    "io": {"rmad.stop_gradient(x)": "savemat"},
    "optimize.elementwise": {_SOLVED: "find_root find_minimum"},
    "sparse.linalg": {
        "rmad.linear_map of a LinearOperator that solves with A and with A.T": """factorized spilu splu spsolve
            spsolve_triangular""",
        "rmad.implicit of the equation that it solves": "bicg bicgstab cg cgs gmres lgmres lsmr lsqr minres qmr",
        "numpy.linalg.{}(A.toarray())": "inv norm",
        "numpy.linalg.eigh or eig of A.toarray()": "eigs eigsh lobpcg",
        "numpy.linalg.svd of A.toarray()": "svds",
        "rmad.linalg.expm": "expm expm_multiply",
    },
    "sparse": {
        "np.diag(x), or x[:, None] * A and x * v in place of its products": "diags diags_array dia_array dia_matrix",
        "for its product with v: np.bincount(rows, weights=x * v[columns])": """bsr_array bsr_matrix coo_array
            coo_matrix csc_array csc_matrix csr_array csr_matrix""",
        "numpy.{}": "kron",
    },
    "differentiate": {"rmad.grad": "derivative", "rmad.{}": "hessian jacobian"},
    "optimize": {
        "its formula, np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)": "rosen",
        "rmad.grad": "approx_fprime",
        "rows, columns = linear_sum_assignment(rmad.stop_gradient(A)), and A[rows, columns]": "linear_sum_assignment",
        _SOLVED: """bisect brenth brentq curve_fit differential_evolution dual_annealing fixed_point fmin fsolve
            least_squares linprog lsq_linear milp minimize minimize_scalar newton newton_krylov nnls ridder root
            root_scalar shgo toms748""",
    },
}

WITH_THE_VARIABLE: dict[str, str] = {
    "special": "log_softmax logsumexp multigammaln polygamma softmax",
    "stats": """
        alexandergovern bartlett bootstrap boxcox_llf chisquare circmean circstd circvar combine_pvalues describe
        differential_entropy directional_stats entropy epps_singleton_2samp f_oneway false_discovery_control gmean
        gstd gzscore hmean iqr jarque_bera kstat kstatvar kurtosis kurtosistest levene lmoment median_abs_deviation
        mode moment monte_carlo_test normaltest pearsonr permutation_test pmean pointbiserialr power_divergence
        quantile sem sigmaclip skew skewtest tmax tmean tmin trim_mean tsem tstd ttest_1samp ttest_ind
        ttest_ind_from_stats ttest_rel tvar variation yeojohnson_llf zmap zscore
    """,
    "signal": """
        abcd_normalize bilinear_zpk bode cheb1ord cheb2ord dbode dfreqresp envelope fftconvolve firwin firwin_2d
        freqresp freqs freqs_zpk freqz freqz_zpk gauss_spline group_delay hilbert hilbert2 lfilter_zi lp2bp lp2bp_zpk
        lp2bs lp2bs_zpk lp2hp lp2hp_zpk lp2lp lp2lp_zpk minimum_phase normalize oaconvolve resample vectorstrength
    """,
    "integrate": "cumulative_simpson cumulative_trapezoid romb trapezoid",
    "fft": """
        fft fft2 fftn fht hfft hfft2 hfftn ifft ifft2 ifftn ifht ihfft ihfft2 ihfftn irfft irfft2 irfftn rfft rfft2
        rfftn
    """,
    "linalg": "block_diag diagsvd fiedler orthogonal_procrustes",
    "optimize.elementwise": "find_minimum find_root",
    "differentiate": "derivative hessian jacobian",
    "cluster.vq": "whiten",
    "constants": "convert_temperature lambda2nu nu2lambda",
}
"""Per module of SciPy the functions that take traced arrays if SCIPY_ARRAY_API=1 is set, in SciPy 1.17."""
