# What lavaan makes of the two cohorts; `make reference` runs it where R and lavaan are installed.
# Writes lavaan_estimates.csv and lavaan_fit.csv, which the tests read.

suppressMessages(library(lavaan))
arguments <- commandArgs(trailingOnly = FALSE)
script <- sub("^--file=", "", arguments[grep("^--file=", arguments)])
setwd(dirname(normalizePath(script)))

models <- list(
  univariate = "
    y ~ b*m1 + c*x1
    m1 ~ a*x1
    ind_x1_m1 := a*b
    total_x1 := c + a*b",
  full = "
    y ~ b1*m1 + b2*m2 + c1*x1 + c2*x2
    m1 ~ a11*x1 + a12*x2
    m2 ~ a21*x1 + a22*x2
    m1 ~~ m2
    ind_x1_m1 := a11*b1
    ind_x1_m2 := a21*b2
    ind_x1 := a11*b1 + a21*b2
    total_x1 := c1 + a11*b1 + a21*b2
    ind_x2_m1 := a12*b1
    ind_x2_m2 := a22*b2
    ind_x2 := a12*b1 + a22*b2
    total_x2 := c2 + a12*b1 + a22*b2",
  uncorrelated = "
    y ~ b1*m1 + b2*m2 + c1*x1 + c2*x2
    m1 ~ a11*x1 + a12*x2
    m2 ~ a21*x1
    ind_x1_m1 := a11*b1
    ind_x1_m2 := a21*b2
    ind_x1 := a11*b1 + a21*b2
    total_x1 := c1 + a11*b1 + a21*b2
    ind_x2_m1 := a12*b1
    ind_x2 := a12*b1
    total_x2 := c2 + a12*b1",
  # x2 adjusts every path and is no exposure
  covariate = "
    y ~ b1*m1 + b2*m2 + c1*x1 + x2
    m1 ~ a11*x1 + x2
    m2 ~ a21*x1 + x2
    ind_x1_m1 := a11*b1
    ind_x1_m2 := a21*b2
    ind_x1 := a11*b1 + a21*b2
    total_x1 := c1 + a11*b1 + a21*b2"
)
# Four mediators, each exposure through three of them (J eq 15): only the simulated cohort has them
four <- "
    y ~ b1*m1 + b2*m2 + b3*m3 + b4*m4 + c1*x1 + c2*x2
    m1 ~ a11*x1 + a12*x2
    m2 ~ a21*x1
    m3 ~ a32*x2
    m4 ~ a41*x1 + a42*x2
    m1 ~~ m2 + m3 + m4
    m2 ~~ m3 + m4
    m3 ~~ m4
    ind_x1_m1 := a11*b1
    ind_x1_m2 := a21*b2
    ind_x1_m4 := a41*b4
    ind_x1 := a11*b1 + a21*b2 + a41*b4
    total_x1 := c1 + a11*b1 + a21*b2 + a41*b4
    ind_x2_m1 := a12*b1
    ind_x2_m3 := a32*b3
    ind_x2_m4 := a42*b4
    ind_x2 := a12*b1 + a32*b3 + a42*b4
    total_x2 := c2 + a12*b1 + a32*b3 + a42*b4"

measures <- c("npar", "chisq", "df", "pvalue", "cfi", "tli", "rmsea", "srmr", "logl", "aic", "bic")
estimates <- list()
fits <- list()
for (cohort in c("simulated", "phantom")) {
  data <- read.csv(paste0(cohort, ".csv"))
  chosen <- if (cohort == "simulated") c(models, four = four) else models
  for (name in names(chosen)) {
    fit <- sem(chosen[[name]], data = data)
    found <- parameterEstimates(fit, standardized = TRUE)
    found <- found[, c("lhs", "op", "rhs", "est", "se", "z", "pvalue", "std.all")]
    # Huber-White errors, from the observed information
    robust <- parameterEstimates(sem(chosen[[name]], data = data, estimator = "MLR"))
    robust <- robust[robust$op != "~1", ]
    stopifnot(all(robust$lhs == found$lhs & robust$op == found$op & robust$rhs == found$rhs))
    found$se.mlr <- robust$se
    found$pvalue.mlr <- robust$pvalue
    estimates[[length(estimates) + 1]] <- cbind(cohort = cohort, model = name, found)
    fits[[length(fits) + 1]] <- data.frame(
      cohort = cohort, model = name, measure = measures, value = as.numeric(fitMeasures(fit, measures))
    )
  }
}
rounded <- function(tables) {
  table <- do.call(rbind, tables)
  numbers <- sapply(table, is.numeric)
  table[numbers] <- lapply(table[numbers], signif, digits = 10)
  table
}
write.csv(rounded(estimates), "lavaan_estimates.csv", row.names = FALSE, na = "")
write.csv(rounded(fits), "lavaan_fit.csv", row.names = FALSE, na = "")
cat("lavaan", as.character(packageVersion("lavaan")), "in R", as.character(getRversion()), "\n")
