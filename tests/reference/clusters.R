# Errors by clusters that need more than statistics.R does: clubSandwich's CR2 with Satterthwaite's
# degrees of freedom, and lavaan's path model with clusters. `make reference` runs it where R,
# lavaan and clubSandwich are installed. Writes bias_reduced.csv and clustered_paths.csv, which the
# tests read.

suppressMessages({library(lavaan); library(clubSandwich)})
arguments <- commandArgs(trailingOnly = FALSE)
script <- sub("^--file=", "", arguments[grep("^--file=", arguments)])
setwd(dirname(normalizePath(script)))
written <- function(table, name) {
  numbers <- sapply(table, is.numeric)
  table[numbers] <- lapply(table[numbers], signif, digits = 10)
  write.csv(table, name, row.names = FALSE, na = "")
}

kinds <- read.csv("kinds.csv")
kinds <- kinds[seq_len(nrow(kinds)) %% 7 != 0, ]  # so that clusters differ in size
kinds$few <- kinds$cluster %% 9
kinds$site <- factor(kinds$few %% 3)              # follows from the cluster, as a hospital does
parts <- list()
for (cluster in c("cluster", "few")) {
  for (formula in c("y ~ x + c", "m ~ x + c", "y ~ x + c + m", "y ~ x + c + site + m")) {
    for (weighted in c(FALSE, TRUE)) {
      fit <- if (weighted) lm(as.formula(formula), data = kinds, weights = weight)
             else lm(as.formula(formula), data = kinds)
      tested <- coef_test(fit, vcov = "CR2", cluster = kinds[[cluster]], test = "Satterthwaite")
      for (term in intersect(c("x", "m"), names(coef(fit)))) {
        own <- tested[names(coef(fit)) == term, ]
        df <- if (is.null(own$df_Satt)) own$df else own$df_Satt
        parts[[length(parts) + 1]] <- data.frame(
          cluster = cluster, formula = formula, term = term, weighted = weighted,
          estimate = coef(fit)[[term]], se = own$SE, df = df
        )
      }
    }
  }
}
written(do.call(rbind, parts), "bias_reduced.csv")

model <- "
  y ~ b1*m + b2*time + c1*x + c
  m ~ a1*x + c
  time ~ a2*x + c
  m ~~ time
  ind_m := a1*b1
  ind_time := a2*b2"
kinds$time <- kinds$time / 10
partly <- kinds
partly$m[seq_len(nrow(kinds)) %% 5 == 0] <- NA
paths <- list()
for (rows in c("complete", "fiml")) {
  fit <- if (rows == "complete") sem(model, data = kinds, estimator = "MLR", cluster = "cluster")
         else sem(model, data = partly, estimator = "MLR", cluster = "cluster", missing = "fiml")
  found <- parameterEstimates(fit)
  found <- found[found$label != "", c("lhs", "op", "rhs", "label", "est", "se")]
  paths[[rows]] <- cbind(rows = rows, found)
}
written(do.call(rbind, paths), "clustered_paths.csv")
