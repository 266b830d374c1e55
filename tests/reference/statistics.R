# What R makes of missing values, clusters, weights and regressions of many kinds; `make reference`
# runs it where R, lavaan, mice, sandwich, survey, survival and MASS are installed. Writes
# fiml_estimates.csv, fiml_fit.csv, pooled.csv, clustered.csv, regressions.csv, reliability.csv and
# pbc_models.csv, which the tests read.

suppressMessages({library(lavaan); library(mice); library(sandwich); library(survey)
                  library(survival); library(MASS)})
arguments <- commandArgs(trailingOnly = FALSE)
script <- sub("^--file=", "", arguments[grep("^--file=", arguments)])
setwd(dirname(normalizePath(script)))
written <- function(table, name) {
  numbers <- sapply(table, is.numeric)
  table[numbers] <- lapply(table[numbers], signif, digits = 10)
  write.csv(table, name, row.names = FALSE, na = "")
}

# Full information
partly <- read.csv("partly_known.csv")
models <- list(
  full = "
    y ~ b1*m1 + b2*m2 + c1*x1 + c2*x2
    m1 ~ a11*x1 + a12*x2
    m2 ~ a21*x1 + a22*x2
    m1 ~~ m2
    ind_x1_m1 := a11*b1
    ind_x1_m2 := a21*b2",
  restricted = "
    y ~ b1*m1 + b2*m2 + c1*x1 + c2*x2
    m1 ~ a11*x1
    m2 ~ a21*x1 + a22*x2
    ind_x1_m1 := a11*b1
    ind_x1_m2 := a21*b2",
  covariate = "
    y ~ b1*m1 + b2*m2 + c1*x1 + x2
    m1 ~ a11*x1 + x2
    m2 ~ a21*x1 + x2
    m1 ~~ m2
    ind_x1_m1 := a11*b1
    ind_x1_m2 := a21*b2"
)
measures <- c("npar", "chisq", "df", "pvalue", "cfi", "tli", "rmsea", "logl", "aic", "bic")
estimates <- list()
fits <- list()
for (name in names(models)) {
  fit <- sem(models[[name]], data = partly, missing = "fiml")
  found <- parameterEstimates(fit, standardized = TRUE)
  robust <- parameterEstimates(sem(models[[name]], data = partly, missing = "fiml", estimator = "MLR"))
  found <- found[, c("lhs", "op", "rhs", "est", "se", "std.all")]
  found$se.mlr <- robust$se
  estimates[[name]] <- cbind(model = name, found[found$op != "~1", ])
  fits[[name]] <- data.frame(model = name, measure = measures,
                             value = as.numeric(fitMeasures(fit, measures)))
}
written(do.call(rbind, estimates), "fiml_estimates.csv")
written(do.call(rbind, fits), "fiml_fit.csv")

# Rubin's rules on the same tables, and mice's own imputations
rules <- list()
q <- c(0.41, 0.37, 0.45, 0.52, 0.33)
u <- c(0.011, 0.012, 0.010, 0.013, 0.011)
p <- pool.scalar(q, u, n = 120, k = 4)
rules[[1]] <- data.frame(term = "scalar", estimate = p$qbar, se = sqrt(p$t), df = p$df, fmi = p$fmi)
imputed <- mice(partly, m = 200, method = "norm", maxit = 10, seed = 3, printFlag = FALSE)
keep <- !is.na(partly$y)  # imputed outcomes say nothing
for (pair in list(c("m1 ~ x1 + x2", "x1"), c("m2 ~ x1 + x2", "x1"), c("y ~ x1 + x2 + m1", "m1"),
                  c("y ~ x1 + x2 + m2", "m2"))) {
  fitted <- lapply(1:200, function(i) lm(as.formula(pair[1]), data = complete(imputed, i)[keep, ]))
  own <- summary(pool(as.mira(fitted)), type = "all")
  own <- own[own$term == pair[2], ]
  rules[[length(rules) + 1]] <- data.frame(term = pair[1], estimate = own$estimate,
                                           se = own$std.error, df = own$df, fmi = own$fmi)
}
written(do.call(rbind, rules), "pooled.csv")

# Clusters and weights
kinds <- read.csv("kinds.csv")
design <- svydesign(~cluster, weights = ~weight, data = kinds)
alone <- svydesign(~1, weights = ~weight, data = kinds)
parts <- list()
for (formula in c("y ~ x + c", "m ~ x + c", "y ~ x + c + m")) {
  plain <- lm(as.formula(formula), data = kinds)
  weighted <- lm(as.formula(formula), data = kinds, weights = weight)
  for (term in intersect(c("x", "m"), names(coef(plain)))) {
    parts[[length(parts) + 1]] <- data.frame(
      formula = formula, term = term,
      estimate = coef(plain)[[term]],
      clustered = sqrt(vcovCL(plain, cluster = ~cluster, type = "HC1")[term, term]),
      weighted = coef(weighted)[[term]],
      weighted_clustered = sqrt(vcovCL(weighted, cluster = ~cluster, type = "HC1")[term, term]),
      survey_clustered = SE(svyglm(as.formula(formula), design))[[term]],
      survey = SE(svyglm(as.formula(formula), alone))[[term]]
    )
  }
}
written(do.call(rbind, parts), "clustered.csv")

# Regressions of every kind
terms <- function(name, fit, df = NA, variance = 0) {
  covariance <- as.matrix(vcov(fit))
  own <- names(coef(fit))
  data.frame(model = name, term = own, estimate = as.numeric(coef(fit)),
             se = sqrt(diag(covariance))[seq_along(own)])
}
written(rbind(
  terms("linear", lm(y ~ x + m + c, kinds)),
  terms("logistic", glm(y_binary ~ x + m + c, binomial, kinds)),
  terms("loglinear", glm(y_rare ~ x + m + c, binomial(log), kinds, start = c(-3, 0, 0, 0),
                         control = list(epsilon = 1e-12, maxit = 100))),
  terms("poisson", glm(y_count ~ x + m + c, poisson, kinds)),
  terms("negative_binomial", glm.nb(y_count ~ x + m + c, kinds)),
  terms("cox", coxph(Surv(time, event) ~ x + m + c, kinds, ties = "breslow")),
  terms("exponential", survreg(Surv(time, event) ~ x + m + c, kinds, dist = "exponential")),
  terms("weibull", survreg(Surv(time, event) ~ x + m + c, kinds, dist = "weibull"))
), "regressions.csv")

# A mediator measured with error, of known variance
error <- 0.3 * var(kinds$m) * (nrow(kinds) - 1) / nrow(kinds)
latent <- sprintf("
  t =~ 1*m
  m ~~ %.12f*m
  t ~ a*x + c
  y ~ b*t + d*x + c
  ind := a*b", error)
fit <- parameterEstimates(sem(latent, data = kinds))
written(fit[fit$label != "", c("label", "est", "se")], "reliability.csv")

# The regressions behind the SAS macro's printed results: no patient's data, only what was fitted.
# survival::pbc, complete rows, as the R package regmedint prepared them for SAS.
pbc <- survival::pbc
pbc <- pbc[complete.cases(pbc), ]
pbc$male <- as.integer(pbc$sex == "m")
pbc$event <- as.integer(pbc$status != 0)
pbc$bili_bin <- as.integer(pbc$bili > median(pbc$bili))
outcomes <- list(
  linear = function(f) lm(update(f, alk.phos ~ .), pbc),
  logistic = function(f) glm(update(f, spiders ~ .), binomial, pbc, epsilon = 1e-12),
  poisson = function(f) glm(update(f, platelet ~ .), poisson, pbc, epsilon = 1e-12),
  cox = function(f) coxph(update(f, Surv(time, event) ~ .), pbc, ties = "breslow"),
  weibull = function(f) survreg(update(f, Surv(time, event) ~ .), pbc, dist = "weibull")
)
rows <- list()
kept <- function(name, fit, variance = 0, df = NA) {
  own <- names(coef(fit))
  covariance <- as.matrix(vcov(fit))[seq_along(own), seq_along(own), drop = FALSE]
  for (i in seq_along(own)) for (j in seq_len(i))
    rows[[length(rows) + 1]] <<- data.frame(model = name, first = own[i], second = own[j],
                                            value = covariance[i, j])
  for (i in seq_along(own))
    rows[[length(rows) + 1]] <<- data.frame(model = name, first = own[i], second = "estimate",
                                            value = coef(fit)[[i]])
  rows[[length(rows) + 1]] <<- data.frame(model = name, first = "variance", second = "", value = variance)
  rows[[length(rows) + 1]] <<- data.frame(model = name, first = "df", second = "", value = df)
}
for (m in c("bili", "bili_bin")) {
  f <- as.formula(paste("~ trt +", m, "+ age + male + stage"))
  g <- as.formula(paste("~ trt *", m, "+ age + male + stage"))
  for (name in names(outcomes)) {
    kept(paste("outcome", m, name, "f"), outcomes[[name]](f))
    kept(paste("outcome", m, name, "t"), outcomes[[name]](g))
  }
}
for (controls in c("all", "controls")) {
  own <- if (controls == "all") pbc else pbc[pbc$spiders == 0, ]
  fit <- lm(bili ~ trt + age + male + stage, own)
  kept(paste("mediator bili", controls), fit, summary(fit)$sigma^2, df.residual(fit))
  kept(paste("mediator bili_bin", controls),
       glm(bili_bin ~ trt + age + male + stage, binomial, own, epsilon = 1e-12))
  for (name in c("age", "male", "stage"))
    rows[[length(rows) + 1]] <- data.frame(model = paste("means", controls), first = name,
                                           second = "", value = mean(own[[name]]))
}
written(do.call(rbind, rows), "pbc_models.csv")
cat("lavaan", as.character(packageVersion("lavaan")), "mice", as.character(packageVersion("mice")),
    "sandwich", as.character(packageVersion("sandwich")), "survey",
    as.character(packageVersion("survey")), "survival", as.character(packageVersion("survival")),
    "in R", as.character(getRversion()), "\n")
