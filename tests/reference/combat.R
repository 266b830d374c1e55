# What sva's ComBat makes of the phenotypes of three sites; `make reference` runs it where R and sva are
# installed. Writes combat.csv, which the tests read.

suppressMessages(library(sva))
arguments <- commandArgs(trailingOnly = FALSE)
script <- sub("^--file=", "", arguments[grep("^--file=", arguments)])
setwd(dirname(normalizePath(script)))

# Iterated until nothing changes, where sva stops at a change of one in ten thousand
exact <- sva:::it.sol
formals(exact)$conv <- 1e-12
assignInNamespace("it.sol", exact, ns = "sva")

data <- read.csv("sites.csv")
names <- grep("^f[0-9]+$", colnames(data), value = TRUE)
values <- t(as.matrix(data[, names]))
kept <- model.matrix(~ age + male, data)
harmonised <- list(
  covariates = ComBat(values, data$site, mod = kept),
  none = ComBat(values, data$site)
)
tables <- lapply(base::names(harmonised), function(name) {
  data.frame(case = name, patient = seq_len(nrow(data)) - 1, signif(t(harmonised[[name]]), 10))
})
write.csv(do.call(rbind, tables), "combat.csv", row.names = FALSE)
cat("sva", as.character(packageVersion("sva")), "in R", as.character(getRversion()), "\n")
