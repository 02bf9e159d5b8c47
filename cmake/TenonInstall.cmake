# Headers, and what find_package(Tenon) and pkg-config need.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/core/include/tenon DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
