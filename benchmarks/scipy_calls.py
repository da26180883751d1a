"""A call of every public function of SciPy's modules that takes numbers, for scipy_functions.py.

x is what is differentiated: nine distinct numbers in (0, 1). w: nine constants, W: the same as a matrix, t: nine places
in order, n: small integers; M(x): x as a 3 × 3 matrix, S(x): a positive definite one, C(x): a complex array,
B(x): band storage, sampled(size): random numbers. Ufuncs of scipy.special need no call here: each of their arguments is
differentiated.
"""

from __future__ import annotations

CALLS = {
    "special": """
        assoc_laguerre(x, 2, 1); assoc_legendre_p(2, 1, x); assoc_legendre_p_all(2, 1, x); comb(5 + x, 2)
        diric(x, 4); ellip_harm(5, 8, 2, 1, 2.0 + x[0]); ellip_harm_2(5, 8, 2, 1, 10.0 + x[0])
        ellip_normal(5 + x[0], 8, 3, 2); factorial(3 + x); h1vp(1, x); h2vp(1, x); ivp(1, x); jvp(1, x); kvp(1, x)
        yvp(1, x); lambertw(x); legendre_p(2, x); legendre_p_all(2, x); lmbda(1.0, x[0]); log_softmax(x)
        logsumexp(x); multigammaln(x + 2, 2); perm(5 + x, 2); pbdn_seq(2, x[0] + 0j); pbdv_seq(1.5, x[0])
        pbvv_seq(1.5, x[0]); polygamma(1, x); riccati_jn(2, x[0]); riccati_yn(2, x[0]); sinc(x); softmax(x)
        softplus(x); sph_harm_y(2, 1, x, 0.3); sph_harm_y_all(2, 1, x, 0.3); sph_legendre_p(2, 1, x)
        sph_legendre_p_all(2, 1, x); spherical_in(1, x); spherical_jn(1, x); spherical_kn(1, x); spherical_yn(1, x)
        zeta(2.5, 1 + x); zeta(1.5 + x, 2); zeta(1.5 + x)
        lqn(1, x[0]); lqmn(1, 1, x[0]); roots_jacobi(3, x[0], 0.5); roots_genlaguerre(3, x[0])
        roots_gegenbauer(3, x[0]); roots_sh_jacobi(3, 2 + x[0], 1.5); j_roots(3, x[0], 0.5); la_roots(3, x[0])
        cg_roots(3, x[0]); js_roots(3, 2 + x[0], 1.5); jacobi(3, x[0], 0.5)(0.3); genlaguerre(3, x[0])(0.3)
        gegenbauer(3, x[0])(0.3); sh_jacobi(3, 2 + x[0], 1.5)(0.3); mathieu_even_coef(2, x[0])
        mathieu_odd_coef(2, x[0]); obl_cv_seq(1, 3, x[0]); pro_cv_seq(1, 3, x[0]); legendre(3)(x); chebyt(3)(x)
        chebyu(3)(x); chebyc(3)(x); chebys(3)(x); laguerre(3)(x); hermite(3)(x); hermitenorm(3)(x)
        sh_legendre(3)(x); sh_chebyt(3)(x); sh_chebyu(3)(x)
        bdtrik(0.4 + x / 2, 2, 0.4); bdtrik(0.9, 2 + x, 0.4); bdtrik(0.9, 3, x / 2); bdtrin(1 + x, 0.4, 0.4)
        bdtrin(2, x, 0.4); bdtrin(2, 0.4, x); fdtridfd(2 + x, 0.5, 1); fdtridfd(2, x / 2, 2)
        nbdtrik(0.5 + x / 2, 2, 0.4); nbdtrik(0.9, 1 + x, 0.4); nbdtrik(0.9, 2, x / 2); nbdtrin(1 + x, 0.4, 0.4)
        nbdtrin(2, x, 0.4); nbdtrin(2, 0.4, x); pdtrik(0.2 + x / 2, 2); pdtrik(0.4, 1 + x); fdtridfd(2, 0.5, 1 + x / 9)
        stdtridf(0.8 + x / 20, 2); stdtridf(0.7, 0.6 + x)
    """,
    "stats": """
        alexandergovern(x, w).statistic; anderson(x).statistic; anderson_ksamp([x, w]).statistic
        ansari(x, w).statistic; bartlett(x, w).statistic; bayes_mvs(x); binned_statistic(t, x, bins=3).statistic
        binned_statistic_2d(t, w, x, bins=2).statistic; binned_statistic_dd([t], x, bins=3).statistic
        boxcox(x, 0.5); boxcox_llf(0.5, x); boxcox_normmax(x); brunnermunzel(x, w).statistic
        bws_test(x, w).statistic; chatterjeexi(x, w).statistic; chi2_contingency(M(x)).statistic
        chisquare(x, x.mean()); circmean(x); circstd(x); circvar(x); combine_pvalues(x).statistic
        cramervonmises(x, special.ndtr).statistic; cramervonmises_2samp(x, w).statistic; cumfreq(x, 4).cumcount
        describe(x); differential_entropy(x); directional_stats(M(x)).mean_direction
        dunnett(x, w, control=t, rng=0).statistic; ecdf(x).cdf.quantiles; energy_distance(x, w); entropy(x)
        epps_singleton_2samp(x, w).statistic; expectile(x, 0.3); f_oneway(x, w).statistic
        false_discovery_control(x); fligner(x, w).statistic; friedmanchisquare(x, w, t).statistic; gmean(x); gstd(x)
        gzscore(x); hmean(x); iqr(x); jarque_bera(x).statistic; kendalltau(x, w).statistic; kruskal(x, w).statistic
        ks_1samp(x, stats.norm.cdf).statistic; ks_2samp(x, w).statistic; kstest(x, 'norm').statistic; kstat(x, 3)
        kstatvar(x, 2); kurtosis(x); kurtosistest(np.tile(x, 3)).statistic; levene(x, w).statistic
        linregress(t, x).slope; lmoment(x); logrank(x, w).statistic; mannwhitneyu(x, w).statistic
        median_abs_deviation(x); median_test(x, w).statistic; mode(x).mode; moment(x, 3); mood(x, w).statistic
        mvsdist(x)[0].mean(); normaltest(x).statistic; obrientransform(x, w); page_trend_test(M(x)).statistic
        pearsonr(x, w).statistic; percentileofscore(w, x); pmean(x, 3); pointbiserialr(n > 1, x).statistic
        poisson_means_test(3, 10 + x[0], 4, 12.0).statistic; power_divergence(x, x.mean()).statistic; ppcc_max(x)
        probplot(x, fit=False)[1]; quantile(x, 0.3); rankdata(x); ranksums(x, w).statistic; relfreq(x, 4).frequency
        scoreatpercentile(x, 30); sem(x); shapiro(x).statistic; siegelslopes(x, t).slope; sigmaclip(x).clipped
        skew(x); skewtest(x).statistic; somersd(x, w).statistic; spearmanr(x, w).statistic
        spearmanrho(x, w).statistic; theilslopes(x, t).slope; tiecorrect(x); tmax(x); tmean(x); tmin(x)
        trim1(x, 0.2); trim_mean(x, 0.2); trimboth(x, 0.2); tsem(x); tstd(x); ttest_1samp(x, 0.2).pvalue
        ttest_ind(x, w).pvalue; ttest_ind_from_stats(x[0], 0.5, 5, 0.4, 0.3, 6).statistic; ttest_rel(x, w).statistic
        tukey_hsd(x, w).statistic; tvar(x); variation(x); wasserstein_distance(x, w)
        wasserstein_distance_nd(M(x), W); weightedtau(x, w).statistic; wilcoxon(x, w).statistic; yeojohnson(x, 0.5)
        yeojohnson_llf(0.5, x); yeojohnson_normmax(x); zmap(x, w); zscore(x)
        quantile_test(x, q=0.4, p=0.3).statistic; bootstrap((x,), np.mean, n_resamples=9, rng=0).standard_error
        permutation_test((x, w), lambda a, b, axis=-1: a.mean(axis) - b.mean(axis), n_resamples=9, rng=0).statistic
        monte_carlo_test(x, stats.norm.rvs, np.mean, n_resamples=9).statistic
        goodness_of_fit(stats.norm, x, n_mc_samples=9, rng=0).statistic
        multiscale_graphcorr(x[:, None], w[:, None], reps=1).statistic
        fit(stats.norm, x, {'loc': (0, 2), 'scale': (0.1, 2)}).params.loc; abs(stats.Normal(mu=x[0])).mean()
        exp(stats.Normal(mu=x[0])).mean(); log(stats.Uniform(a=1 + x[0], b=3)).mean()
        truncate(stats.Normal(mu=x[0]), lb=-1, ub=2).mean(); order_statistic(stats.Normal(mu=x[0]), r=1, n=2).mean()
        power(lambda a, axis=-1: stats.ttest_1samp(a, x[0], axis=axis).pvalue, sampled, (5,), n_resamples=9).power
        boxcox_normplot(x, -1, 1, N=3)[1]; yeojohnson_normplot(x, -1, 1, N=3)[1]; ppcc_plot(x, 0.1, 1, N=3)[1]
        sobol_indices(func=lambda a: a[0] * x[0] + a[1], n=4, dists=[stats.uniform()] * 2, rng=0).first_order
    """,
    "signal": """
        abcd_normalize(M(x), W[:, :1], W[:1], [[0.0]])[0]; argrelextrema(x, np.greater)[0]; argrelmax(x)[0]
        argrelmin(x)[0]
        band_stop_obj(0.2 + x[0] / 99, 0, np.array([0.2, 0.6]), np.array([0.3, 0.5]), 1, 40, 'butter')
        bessel(2, x[0] / 2); bilinear(x[:3], w[:3]); bilinear_zpk(x[:2], w[:2], 1.0, 2.0)
        bode((x[:1], [1.0, 2.0]))[1]; butter(2, x[0] / 2); buttord(x[0] / 2, 0.9, 1, 20)[1]; cheb1ap(2, 1 + x[0])
        cheb1ord(x[0] / 2, 0.9, 1, 20)[1]; cheb2ap(2, 30 + x[0]); cheb2ord(x[0] / 2, 0.9, 1, 20)[1]
        cheby1(2, 1, x[0] / 2); cheby2(2, 30, x[0] / 2); chirp(t, 1 + x[0], 1, 2); coherence(x, w, nperseg=4)[1]
        cont2discrete((M(x), W[:, :1], W[:1], [[0.0]]), 0.1)[0]; convolve(x, w); convolve2d(M(x), W)
        correlate(x, w); correlate2d(M(x), W); csd(x, w, nperseg=4)[1]; cspline1d(x); cspline1d_eval(x, t * 8)
        cspline2d(np.tile(M(x), (9, 9)), 0.0); czt(x, 4); dbode((x[:1], [1.0, 0.5], 0.1))[1]
        decimate(np.tile(x, 4), 2); deconvolve(x, [1.0, 0.5])[0]; detrend(x); dfreqresp((x[:1], [1.0, 0.5], 0.1))[1]
        dimpulse((x[:1], [1.0, 0.5], 0.1), n=4)[1][0]; dlsim((x[:1], [1.0, 0.5], 0.1), w)[1]
        dstep((x[:1], [1.0, 0.5], 0.1), n=4)[1][0]; ellip(2, 1, 30, x[0] / 2); ellipap(2, 1 + x[0], 30)
        ellipord(x[0] / 2, 0.9, 1, 20)[1]; envelope(x); fftconvolve(x, w)
        filtfilt([0.5, 0.5], [1.0], np.tile(x, 3)); find_peaks(x)[0]; find_peaks_cwt(x, [1, 2])
        findfreqs(x[:2], [1.0, 2.0], 5); firls(3, [0, x[0] / 2, 0.6, 1], [1, 1, 0, 0]); firwin(5, x[0] / 2)
        firwin2(5, [0, 0.5, 1], [1, x[0], 0]); firwin_2d((3, 3), ('hamming', 'hamming'), fc=x[0] / 2)
        freqresp((x[:1], [1.0, 2.0]))[1]; freqs(x[:2], [1.0, 2.0], w)[1]; freqs_zpk(x[:2], w[:2], 1.0, w)[1]
        freqz(x, worN=5)[1]; freqz_sos([[0.5, 0.5, 0, 1, x[0], 0]], worN=4)[1]
        freqz_zpk(x[:2], w[:2], 1.0, worN=5)[1]; gammatone(100 + x[0], 'iir', fs=1000); gauss_spline(x, 3)
        gausspulse(x, fc=2); get_window(('kaiser', 2 + x[0]), 5); group_delay((x[:3], [1.0]), w=4)[1]; hilbert(x)
        hilbert2(M(x)); iircomb(0.5, 3 + x[0]); iirdesign(x[0] / 2, 0.9, 1, 20); iirfilter(2, x[0] / 2, btype='low')
        iirnotch(x[0], 30); iirpeak(x[0], 30); impulse((x[:1], [1.0, 2.0]), N=5)[1]; invres(x[:2], w[:2], [])
        invresz(x[:2], w[:2], []); istft(C(x).reshape(3, 3), nperseg=4)[1]; kaiser_atten(5, x[0] / 2)
        kaiser_beta(50 + x[0]); kaiserord(50, x[0] / 2)[1]; lfilter([1.0], [1.0, 0.5], x)
        lfilter_zi(x[:3], [1.0, 0.5]); lfiltic(x[:3], [1.0, 0.5], w[:2]); lombscargle(t * 9, x, w + 1)
        lp2bp(x[:2], [1.0, 2.0]); lp2bs(x[:2], [1.0, 2.0]); lp2bp_zpk(x[:1], w[:2], 1.0)
        lp2bs_zpk(x[:1], w[:2], 1.0); lp2hp(x[:2], [1.0, 2.0]); lp2hp_zpk(x[:1], w[:2], 1.0)
        lp2lp(x[:2], [1.0, 2.0], 3.0); lp2lp_zpk(x[:1], w[:2], 1.0, 3.0); lsim((x[:1], [1.0, 2.0]), w, t)[1]
        medfilt(x); medfilt2d(M(x)); minimum_phase(np.hstack([x, x[::-1]])); normalize(x[:2], [1.0, 2.0])
        oaconvolve(x, w); order_filter(x, np.ones(3), 1); peak_prominences(x, [2])[0]; peak_widths(x, [2])[0]
        periodogram(x)[1]; place_poles(M(x), W[:, :2], [-1.0, -2.0, -3.0]).gain_matrix; qspline1d(x)
        qspline1d_eval(x, t * 8); qspline2d(np.tile(M(x), (9, 9)), 0.0); remez(5, [0, x[0] / 4, 0.3, 0.5], [1, 0])
        resample(x, 5); resample_poly(x, 2, 3); residue(x[:2], w[:3])[0]; residuez(x[:2], w[:3])[0]
        savgol_coeffs(5, 2, deriv=1, delta=1 + x[0]); savgol_filter(x, 5, 2); sawtooth(x)
        sepfir2d(M(x), [0.3, 0.4, 0.3], [0.3, 0.4, 0.3]); sos2tf([[0.5, 0.5, 0, 1, x[0], 0]])
        sos2zpk([[0.5, 0.5, 0, 1, x[0], 0]]); sosfilt([[0.5, 0.5, 0, 1, 0.1, 0]], x)
        sosfilt_zi([[0.5, 0.5, 0, 1, x[0], 0]]); sosfiltfilt([[0.5, 0.5, 0, 1, 0.1, 0]], np.tile(x, 3))
        sosfreqz([[0.5, 0.5, 0, 1, x[0], 0]], worN=4)[1]; spectrogram(x, nperseg=4)[2]
        spline_filter(np.tile(M(x), (9, 9))); square(x); ss2tf(M(x), W[:, :1], W[:1], [[0.0]])
        ss2zpk(M(x), W[:, :1], W[:1], [[0.0]]); step((x[:1], [1.0, 2.0]), N=5)[1]; stft(x, nperseg=4)[2]
        sweep_poly(t, x[:3]); symiirorder1(np.tile(x, 9), 0.5, 0.3); symiirorder2(np.tile(x, 9), 0.3, 0.5)
        tf2sos(x[:3], w[:3]); tf2ss(x[:2], w[:3]); tf2zpk(x[:3], w[:3]); unique_roots(x)[0]
        upfirdn([1.0, 0.5], x, 2); vectorstrength(x, 0.7); welch(x, nperseg=4)[1]; wiener(x); zoom_fft(x, 0.5)
        zpk2sos(x[:2], w[:2], 1.0); zpk2ss(x[:1], w[:2], 1.0); zpk2tf(x[:2], w[:2], 1.0)
        closest_STFT_dual_window(np.hanning(9) + x, 3)[0]; choose_conv_method(x, w) == '' or x; check_COLA(x, 9, 3)
        check_NOLA(x, 9, 3)
    """,
    "integrate": """
        cubature(lambda s: np.cos(s[:, 0] * x[0]), np.array([0.0]), np.array([1.0])).estimate; cumulative_simpson(x)
        cumulative_trapezoid(x); dblquad(lambda s, r: s * r * x[0], 0, 1, 0, 1)[0]
        fixed_quad(lambda s: np.cos(s * x[0]), 0, 1)[0]; nquad(lambda s, r: s * r * x[0], [(0, 1), (0, 1)])[0]
        nsum(lambda k: x[0] / k**2, 1, np.inf).sum; odeint(lambda y, s: -y, x, [0.0, 0.5])
        qmc_quad(lambda s: x[0] * s[0], [0.0], [1.0], n_points=8)[0]; quad(lambda s: np.cos(s * x[0]), 0, 1)[0]
        quad_vec(lambda s: np.cos(s * x), 0, 1)[0]; romb(x); simpson(x)
        solve_bvp(lambda s, y: np.stack([y[1], -x[0] * y[0]]), lambda a, b: np.stack([a[0], b[0]]), t, W[:2, [0] * 9]).y
        solve_ivp(lambda s, y: -y, (0, 1), x).y[:, -1]; trapezoid(x)
        tanhsinh(lambda s: np.cos(s * x[0]), 0.0, 1.0).integral
        tplquad(lambda s, r, q: s * r * x[0], 0, 1, 0, 1, 0, 1)[0]
    """,
    "fft": """
        fft(x); ifft(x); fft2(M(x)); ifft2(M(x)); fftn(M(x)); ifftn(M(x)); rfft(x); irfft(x); rfft2(M(x))
        irfft2(M(x)); rfftn(M(x)); irfftn(M(x)); hfft(x); ihfft(x); hfft2(M(x)); ihfft2(M(x)); hfftn(M(x))
        ihfftn(M(x)); fftshift(x); ifftshift(x); dct(x); idct(x); dst(x); idst(x); dctn(M(x)); idctn(M(x))
        dstn(M(x)); idstn(M(x)); fht(x, 0.1, 0.5); ifht(x, 0.1, 0.5); fhtoffset(0.1, 0.5 + x[0]); fftfreq(5, x[0])
        rfftfreq(5, x[0])
    """,
    "interpolate": """
        approximate_taylor_polynomial(lambda s: np.cos(s * x[0]), 0, 3, 1.0).coeffs
        barycentric_interpolate(t[:4], x[:4], 0.2)
        bisplev(0.3, 0.4, interpolate.bisplrep(W, W.T, M(x), kx=1, ky=1)); bisplrep(W, W.T, M(x), kx=1, ky=1)[2]
        list(interpolate.generate_knots(t, x))[0]; griddata(t, x, 0.3); insert(0.3, interpolate.splrep(t, x))[1]
        interpn((t,), x, [0.3]); krogh_interpolate(t[:4], x[:4], 0.2); lagrange(t[:4], x[:4])(0.2)
        make_interp_spline(t, x)(0.3); make_lsq_spline(t, x, np.r_[(0,) * 4, 0.5, (1,) * 4])(0.3)
        make_smoothing_spline(t, x)(0.3); make_splprep([t, x])[0](0.3); make_splrep(t, x)(0.3)
        pade(x[:4], 1)[0](0.2); pchip_interpolate(t, x, 0.3); spalde(0.3, interpolate.splrep(t, x))
        splder(interpolate.splrep(t, x))[1]; splantider(interpolate.splrep(t, x))[1]
        splev(0.3, interpolate.splrep(t, x)); splrep(t, x)[1]; splint(0, 0.5, interpolate.splrep(t, x))
        splprep([t, x])[0][1]; sproot(interpolate.splrep(t, x - 0.4)); interp1d(t, x)(0.3); CubicSpline(t, x)(0.3)
        PchipInterpolator(t, x)(0.3); Akima1DInterpolator(t, x)(0.3); BSpline(np.arange(13.0), x, 3)(5.5)
        RegularGridInterpolator((t,), x)([0.3]); CubicHermiteSpline(t, x, w)(0.3)
        PPoly(x[:, None], [0.0, 1.0])(0.3); BarycentricInterpolator(t[:4], x[:4])(0.2)
        RBFInterpolator(t[:, None], x)([[0.3]]); UnivariateSpline(t, x)(0.3)
        InterpolatedUnivariateSpline(t, x)(0.3); NearestNDInterpolator(W[:, :2], x[:3])([[0.3, 0.4]])
        LSQUnivariateSpline(t, x, [0.5])(0.3); RectBivariateSpline(t[:3], t[:3], M(x), kx=2, ky=2)(0.1, 0.1)
        KroghInterpolator(t[:4], x[:4])(0.2); AAA(t, x)(0.2)
    """,
    "linalg": """
        bandwidth(M(x))[0]; block_diag(M(x), W)
        cdf2rdf(np.stack([x[0] + 1j, x[0] - 1j]), np.array([[1, 1], [1j, -1j]]))[0]; cho_factor(S(x))[0]
        cho_solve((linalg.cholesky(S(w)), False), x[:3]); cho_solve_banded((linalg.cholesky_banded(B(w)), False), x)
        cholesky(S(x)); cholesky_banded(B(x)); circulant(x); companion(x); convolution_matrix(x, 3); coshm(M(x))
        cosm(M(x)); det(M(x)); diagsvd(x[:3], 3, 3); eig(S(x))[0]; eig_banded(B(x))[0]; eigh(S(x))[0]
        eigh_tridiagonal(x, w[1:])[0]; eigvals(S(x)); eigvals_banded(B(x)); eigvalsh(S(x))
        eigvalsh_tridiagonal(x, w[1:]); expm(M(x)); expm_cond(M(x)); expm_frechet(M(x), W)[1]; fiedler(x)
        fiedler_companion(x[:4]); fractional_matrix_power(S(x), 0.5); funm(S(x), np.cos); hankel(x)
        hessenberg(M(x)); inv(M(x)); ishermitian(M(x)); issymmetric(M(x)); khatri_rao(M(x), W); ldl(S(x))[1]
        leslie(x[:3], w[:2]); logm(S(x)); lstsq(M(x), w[:3])[0]; lu(M(x))[2]; lu_factor(M(x))[0]
        lu_solve(linalg.lu_factor(W), x[:3]); matmul_toeplitz(x, w); matrix_balance(M(x))[0]; norm(M(x))
        null_space(M(x)[:2]); ordqz(M(x), W)[0]; orth(M(x)); orthogonal_procrustes(M(x), W)[0]; pinv(M(x))
        pinvh(S(x)); polar(M(x))[0]; qr(M(x))[1]; qr_delete(np.eye(3), np.triu(M(x)), 0)[1]
        qr_insert(*linalg.qr(W), x[:3], 0)[1]; qr_multiply(M(x), W)[0]; qr_update(*linalg.qr(W), x[:3], w[:3])[1]
        qz(M(x), W)[0]; rq(M(x))[0]; rsf2csf(M(x), W)[0]; schur(M(x))[0]; signm(S(x) - 5 * np.eye(3)); sinhm(M(x))
        sinm(M(x)); solve(M(x), w[:3]); solve_banded((1, 1), np.stack([x, w + 3, x]), w); solve_circulant(x, w)
        solve_continuous_are(M(x), W, S(w), S(w)); solve_continuous_lyapunov(M(x), W)
        solve_discrete_are(M(x), W, S(w), S(w)); solve_discrete_lyapunov(M(x) / 4, W); solve_lyapunov(M(x), W)
        solve_sylvester(M(x), S(w), W); solve_toeplitz(x, w); solve_triangular(M(x), w[:3]); solveh_banded(B(x), w)
        sqrtm(S(x)); subspace_angles(M(x)[:, :1], W[:, :1]); svd(M(x))[1]; svdvals(M(x)); tanhm(M(x)); tanm(M(x))
        toeplitz(x); cossin(linalg.qr(M(x))[0], p=1, q=1)[1]; clarkson_woodruff_transform(M(x), 2, rng=0)
    """,
    "spatial": """
        distance_matrix(M(x), W); geometric_slerp([1.0, 0.0], [0.0, 1.0], x[:2]); minkowski_distance(x, w)
        minkowski_distance_p(x, w); procrustes(M(x), W)[2]; tsearch(spatial.Delaunay(W[:, :2]), M(x)[:, :2])
        KDTree(M(x)).query(W[0])[0]; ConvexHull(M(x)[:, :2]).volume
    """,
    "spatial.distance": """
        braycurtis(x, w); canberra(x, w); cdist(M(x), W); chebyshev(x, w); cityblock(x, w); correlation(x, w)
        cosine(x, w); dice(x > 0.5, w > 0.5); directed_hausdorff(M(x), W)[0]; euclidean(x, w); hamming(x, w)
        is_valid_dm(M(x)); is_valid_y(x[:6]); jaccard(x > 0.5, w > 0.5); jensenshannon(x, w)
        mahalanobis(x[:3], w[:3], S(w)); minkowski(x, w, 3); num_obs_dm(M(x)); num_obs_y(x[:6]); pdist(M(x))
        rogerstanimoto(x > 0.5, w > 0.5); russellrao(x > 0.5, w > 0.5); seuclidean(x, w, w)
        sokalsneath(x > 0.5, w > 0.5); sqeuclidean(x, w); squareform(x[:6]); yule(x > 0.5, w > 0.5)
    """,
    "ndimage": """
        affine_transform(M(x), W[:2, :2]); binary_closing(M(x) > 0.5); binary_dilation(M(x) > 0.5)
        binary_erosion(M(x) > 0.5); binary_fill_holes(M(x) > 0.5); binary_hit_or_miss(M(x) > 0.5)
        binary_opening(M(x) > 0.5); binary_propagation(M(x) > 0.5); black_tophat(M(x), 2); center_of_mass(M(x))
        convolve(M(x), W); convolve1d(x, w[:3]); correlate(M(x), W); correlate1d(x, w[:3])
        distance_transform_bf(M(x) > 0.5); distance_transform_cdt(M(x) > 0.5); distance_transform_edt(M(x) > 0.5)
        extrema(x)[:2]; fourier_ellipsoid(M(x), 2); fourier_gaussian(M(x), 2); fourier_shift(M(x), 0.3)
        fourier_uniform(M(x), 2); gaussian_filter(M(x), 1.0); gaussian_filter1d(x, 1.0)
        gaussian_gradient_magnitude(M(x), 1.0); gaussian_laplace(M(x), 1.0); generic_filter(M(x), np.sum, 2)
        generic_filter1d(x, lambda a, b: None, 3); generic_gradient_magnitude(M(x), ndimage.sobel)
        generic_laplace(M(x), lambda a, axis, out, mode, cval: ndimage.sobel(a, axis, out, mode, cval))
        geometric_transform(M(x), lambda p: (p[0] + 0.3, p[1])); grey_closing(M(x), 2); grey_dilation(M(x), 2)
        grey_erosion(M(x), 2); grey_opening(M(x), 2); histogram(x, 0, 1, 3); label(M(x) > 0.5)[0]
        labeled_comprehension(x, n, [0, 1], np.mean, float, 0); laplace(M(x))
        map_coordinates(M(x), [[0.3, 1.2], [0.4, 1.1]]); maximum(x, n, [0, 1]); maximum_filter(M(x), 2)
        maximum_filter1d(x, 3); maximum_position(x)[0]; mean(x, n, [0, 1]); median(x, n, [0, 1])
        median_filter(M(x), 2); minimum(x, n, [0, 1]); minimum_filter(M(x), 2); minimum_filter1d(x, 3)
        minimum_position(x)[0]; morphological_gradient(M(x), 2); morphological_laplace(M(x), 2)
        percentile_filter(M(x), 30, 2); prewitt(M(x)); rank_filter(M(x), 1, 2); rotate(M(x), 20); shift(x, 0.3)
        sobel(M(x)); spline_filter(M(x)); spline_filter1d(x); standard_deviation(x, n, [0, 1]); sum(x, n, [0, 1])
        sum_labels(x, n, [0, 1]); uniform_filter(M(x), 2); uniform_filter1d(x, 3)
        vectorized_filter(M(x), np.sum, size=2); variance(x, n, [0, 1]); white_tophat(M(x), 2); zoom(M(x), 1.5)
    """,
    "optimize.elementwise": """
        find_root(lambda z, a: z**3 - a, (np.zeros(9), 2 * np.ones(9)), args=(x,)).x
        find_minimum(lambda z, a: (z - a)**2, (-np.ones(9), 0.2 * np.ones(9), 3 * np.ones(9)), args=(x,)).x
        bracket_root(lambda z, a: z - a, np.zeros(9), args=(x,)).bracket
        bracket_minimum(lambda z, a: (z - a)**2, np.zeros(9), args=(x,)).bracket
    """,
    "differentiate": """
        derivative(np.exp, x).df; jacobian(lambda z: z**2, x).df; hessian(lambda z: (z**4).sum(axis=0), x).ddf
    """,
    "cluster.hierarchy": """
        average(M(x))[:, 2]; centroid(M(x))[:, 2]; complete(M(x))[:, 2]; linkage(M(x))[:, 2]; median(M(x))[:, 2]
        single(M(x))[:, 2]; ward(M(x))[:, 2]; weighted(M(x))[:, 2]; fclusterdata(M(x), 0.5)
        cophenet(hierarchy.linkage(M(x)))
    """,
    "cluster.vq": "whiten(M(x)); vq(M(x), W)[1]; kmeans(M(x), W[:2])[1]; kmeans2(M(x), W[:2], minit='matrix')[0]",
    "constants": "convert_temperature(x, 'C', 'K'); lambda2nu(x); nu2lambda(x)",
}
"""Per module, calls with the name of the function first."""

WITHOUT_NUMBERS = {
    "special": """
        geterr seterr ai_zeros bei_zeros beip_zeros ber_zeros berp_zeros bi_zeros bernoulli erf_zeros euler
        factorial2 factorialk stirling2 fresnel_zeros fresnelc_zeros fresnels_zeros jn_zeros jnjnp_zeros jnp_zeros
        jnyn_zeros kei_zeros keip_zeros kelvin_zeros ker_zeros kerp_zeros y0_zeros y1_zeros y1p_zeros yn_zeros
        ynp_zeros roots_legendre roots_chebyt roots_chebyu roots_chebyc roots_chebys roots_laguerre roots_hermite
        roots_hermitenorm roots_sh_legendre roots_sh_chebyt roots_sh_chebyu p_roots t_roots u_roots c_roots s_roots
        l_roots h_roots he_roots ps_roots ts_roots us_roots
    """,
    "stats": "barnard_exact binomtest boschloo_exact fisher_exact make_distribution",
    "signal": "besselap buttap correlation_lags czt_points max_len_seq unit_impulse",
    "integrate": "lebedev_rule newton_cotes",
    "fft": """
        next_fast_len prev_fast_len set_backend skip_backend set_global_backend register_backend get_workers
        set_workers
    """,
    "interpolate": "",
    "linalg": """
        dft find_best_blas_type get_blas_funcs get_lapack_funcs hadamard helmert hilbert invhilbert invpascal pascal
    """,
    "spatial": "convex_hull_plot_2d delaunay_plot_2d voronoi_plot_2d",
    "ndimage": "find_objects generate_binary_structure iterate_structure value_indices watershed_ift",
    "cluster.hierarchy": """
        correspond cut_tree dendrogram fcluster from_mlab_linkage inconsistent is_isomorphic is_monotonic
        is_valid_im is_valid_linkage leaders leaves_list maxRstat maxdists maxinconsts num_obs_linkage
        optimal_leaf_ordering set_link_color_palette to_mlab_linkage to_tree
    """,
    "constants": "find precision unit value",
}
"""Functions of integers, names, objects or options only: there is nothing to differentiate."""
