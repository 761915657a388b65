"""The laws that every site keeps, by what they are about; `SiteConformance` has them all."""
