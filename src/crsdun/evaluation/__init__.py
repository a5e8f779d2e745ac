"""How good and how costly an estimate is: metrics by named protocol, parameters and multiply-adds."""
