# Headers, templates, and what find_package(Tenon) and pkg-config need. The
# build tree has the same shape, so that both are found the same way.
include(CMakePackageConfigHelpers)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/core/include/tenon
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

# share/tenon/templates/KIND: what `tenon new` copies.
set(template_of_arch archs/_template)
set(template_of_optimizer optimizers/_template)
set(template_of_dataset plugins/datasets/_template)
set(template_of_schedule plugins/schedules/_template)
set(template_of_backend backends/_template)
add_custom_target(tenon_templates ALL)
foreach(kind arch optimizer dataset schedule backend)
  set(from ${PROJECT_SOURCE_DIR}/${template_of_${kind}})
  add_custom_command(TARGET tenon_templates POST_BUILD
    COMMAND ${CMAKE_COMMAND} -E copy_directory ${from}
      ${CMAKE_BINARY_DIR}/share/tenon/templates/${kind})
  install(DIRECTORY ${from}/ DESTINATION ${CMAKE_INSTALL_DATADIR}/tenon/templates/${kind})
endforeach()

# pkg-config --cflags tenon; its paths follow the file when it is moved.
file(RELATIVE_PATH TENON_PC_PREFIX
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(${CMAKE_CURRENT_LIST_DIR}/tenon.pc.in
  ${CMAKE_BINARY_DIR}/package/tenon.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/package/tenon.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# find_package(Tenon)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Tenon)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/TenonConfig.cmake.in
  ${CMAKE_BINARY_DIR}/package/TenonConfig.cmake
  INSTALL_DESTINATION ${package_dir}
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_BINDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/package/TenonConfigVersion.cmake
  VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/package/TenonConfig.cmake
  ${CMAKE_BINARY_DIR}/package/TenonConfigVersion.cmake DESTINATION ${package_dir})
